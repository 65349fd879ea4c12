import { Type, type Static } from "@sinclair/typebox";
import { Enum, Nullable } from "../types.ts";

/** The states of a layer in a pull, in their order; a layer that `exists` was on the engine before. */
export const LAYER_STATES = [
  "waiting",
  "retrying",
  "downloading",
  "downloaded",
  "extracting",
  "complete",
  "exists",
] as const;
export type LayerState = (typeof LAYER_STATES)[number];

/** The data of a `progress` event: the state of an image pull. */
export const PullProgress = Type.Object({
  layers: Type.Array(
    Type.Object({
      id: Type.String({ description: "The start of the layer's digest.", examples: ["b1424a69cb3e"] }),
      status: Enum(LAYER_STATES, {
        description: "The state of the layer; `exists` if the engine had it before.",
        examples: ["downloading"],
      }),
      current_bytes: Type.Integer({ minimum: 0, description: "Bytes downloaded so far.", examples: [524288] }),
      total_bytes: Nullable(
        Type.Integer({
          minimum: 0,
          description:
            "Bytes to download; null until the download begins, and for a layer that came so fast that the engine never said it.",
          examples: [1048576],
        }),
      ),
    }),
    { description: "The layers, in the order of the image." },
  ),
  downloaded_bytes: Type.Integer({ minimum: 0, description: "Bytes downloaded of all layers.", examples: [524288] }),
  total_bytes: Type.Integer({
    minimum: 0,
    description:
      "Bytes of the layers whose size is known: it grows until the last download has begun, and never shrinks.",
    examples: [1048576],
  }),
});
export type PullProgress = Static<typeof PullProgress>;

/** The progress at the start: nothing is known. */
export const NO_PROGRESS: PullProgress = { layers: [], downloaded_bytes: 0, total_bytes: 0 };

/** A listener to the progress of a pull, until its signal aborts; the pull itself continues. */
export interface PullWatcher {
  readonly signal: AbortSignal;
  /** Called when the pull begins, or at once if it has begun, and then at most a few times a second. */
  readonly onProgress: (progress: PullProgress) => void;
}
