import type { LayerState, PullProgress } from "../../domain/images/pull-progress.ts";

/** The most layers that are tracked; Docker accepts no image with more than 127. */
const LAYERS = 1_000;
const ID_LENGTH = 128;

/** The engine's words for the states of a layer. */
const STATES: Readonly<Record<string, LayerState>> = {
  "Pulling fs layer": "waiting",
  Waiting: "waiting",
  Downloading: "downloading",
  "Verifying Checksum": "downloaded",
  "Download complete": "downloaded",
  Extracting: "extracting",
  "Pull complete": "complete",
  "Already exists": "exists",
};

interface Layer {
  state: LayerState;
  current: number;
  total: number | null;
}

/**
 * Tracks a pull by the lines of progress that the engine sends. Whatever they say, no count is negative or above its
 * total, and no total shrinks.
 *
 * An engine with the containerd image store looks at its downloads ten times a second, and says nothing about the size of
 * a layer that came faster. It offers no other way to learn it (the manifest can only be had from the registry, where it
 * counts as another pull), so such a layer is complete with a size that stays unknown.
 */
export class PullTracker {
  readonly #layers = new Map<string, Layer>();

  /** Takes a parsed line of the engine. Returns whether it says anything about a layer. */
  add(line: unknown): boolean {
    const { id, status, progressDetail } = fieldsOf(line);
    if (typeof id !== "string" || id.length > ID_LENGTH || typeof status !== "string") return false;
    const state = stateOf(status);
    if (state === undefined) return false;
    const layer = this.#layers.get(id) ?? { state, current: 0, total: null };
    if (!this.#layers.has(id) && this.#layers.size >= LAYERS) return false;
    this.#layers.set(id, layer);
    layer.state = state;
    const { current, total, units } = fieldsOf(progressDetail);
    // The containerd image store counts the seconds of an extraction.
    if (units === undefined || units === "bytes") count(layer, bytes(current), bytes(total));
    else count(layer, undefined, undefined);
    return true;
  }

  /** The progress of the pull so far. */
  get progress(): PullProgress {
    const layers = [...this.#layers].map(([id, { state, current, total }]) => ({
      id,
      status: state,
      current_bytes: current,
      total_bytes: total,
    }));
    return {
      layers,
      downloaded_bytes: layers.reduce((sum, { current_bytes }) => sum + current_bytes, 0),
      // A layer of unknown size (the registry may leave it out) is at least as large as the part that has come.
      total_bytes: layers.reduce((sum, { current_bytes, total_bytes }) => sum + (total_bytes ?? current_bytes), 0),
    };
  }
}

function stateOf(status: string): LayerState | undefined {
  return status.startsWith("Retrying in ") ? "retrying" : Object.hasOwn(STATES, status) ? STATES[status] : undefined;
}

/** Counts bytes while they are downloaded. During extraction the engine counts again, from 0 to the same total. */
function count(layer: Layer, current: number | undefined, total: number | undefined): void {
  // The known size only grows: for a layer of unknown size it is the part that has come.
  if (total !== undefined && total > 0) layer.total = Math.max(total, layer.total ?? layer.current);
  if (layer.state === "downloading" && current !== undefined)
    layer.current = layer.total === null ? Math.max(current, layer.current) : Math.min(current, layer.total);
  const over = layer.state === "downloaded" || layer.state === "extracting" || layer.state === "complete";
  if (over && layer.total !== null) layer.current = layer.total;
}

/** Returns a count, or nothing if the value is not one; the engine reports an unknown count as -1. */
function bytes(value: unknown): number | undefined {
  // The sum of a thousand of these is exact.
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 2 ** 43 ? value : undefined;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  // Fields of parsed JSON: each is checked before it is used.
  return value !== null && typeof value === "object" ? (value as Readonly<Record<string, unknown>>) : {};
}
