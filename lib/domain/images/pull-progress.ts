import { Type, type Static } from "@sinclair/typebox";
import { Nullable } from "../types.ts";

/** How far a layer of an image is, in the order of things; `exists` is one that the engine has already. */
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

/** The data of a `progress` event: how far the pull of an image is. */
export const PullProgress = Type.Object({
  layers: Type.Array(
    Type.Object({
      id: Type.String({ description: "The beginning of the layer's digest.", examples: ["b1424a69cb3e"] }),
      status: Type.Unsafe<LayerState>(
        Type.Union(
          LAYER_STATES.map((state) => Type.Literal(state)),
          { description: "How far the layer is; `exists` is one that the engine has.", examples: ["downloading"] },
        ),
      ),
      current_bytes: Type.Integer({ minimum: 0, description: "Downloaded so far.", examples: [524288] }),
      total_bytes: Nullable(
        Type.Integer({
          minimum: 0,
          description: "To be downloaded; null until the engine tells, which it does when the download begins.",
          examples: [1048576],
        }),
      ),
    }),
    { description: "The layers, in the order of the image." },
  ),
  downloaded_bytes: Type.Integer({ minimum: 0, description: "Of all layers together.", examples: [524288] }),
  total_bytes: Type.Integer({
    minimum: 0,
    description: "Of the layers whose size is known by now: it grows until the last download has begun.",
    examples: [1048576],
  }),
});
export type PullProgress = Static<typeof PullProgress>;

/** Nothing is known yet. */
export const NO_PROGRESS: PullProgress = { layers: [], downloaded_bytes: 0, total_bytes: 0 };

/** Someone who wants to see how a pull goes, until the signal aborts; the pull goes on without. */
export interface PullWatcher {
  readonly signal: AbortSignal;
  /** Called when the pull begins, or at once where it is under way already, and at most a few times a second from then on. */
  readonly onProgress: (progress: PullProgress) => void;
}
