import type { PullProgress } from "../../../domain/images/pull-progress.ts";
import { bytes } from "../../format/numbers.ts";

/** The state of a registration: how much of the image has come. */
export function Progress({ progress }: { readonly progress: PullProgress | undefined }) {
  if (progress === undefined) {
    return (
      <p class="quiet" role="status">
        Looking at the image, and trying it…
      </p>
    );
  }
  const { layers, downloaded_bytes, total_bytes } = progress;
  const done = layers.filter(({ status }) => status === "complete" || status === "exists").length;
  const isPulled = layers.length > 0 && done === layers.length;
  return (
    <div class="pull" role="status">
      <p>
        {isPulled ? "The image is here; it is tried now." : "Pulling the image"}{" "}
        <span class="quiet">{`${bytes(downloaded_bytes)} of ${bytes(total_bytes)}, ${done} of ${layers.length} layers`}</span>
      </p>
      <progress
        aria-label="Pull of the image"
        max={Math.max(1, total_bytes)}
        value={isPulled ? total_bytes : downloaded_bytes}
      />
    </div>
  );
}
