import type { LayerState, PullProgress } from "../../domain/images/pull-progress.ts";

/** Docker takes no image with more than 127 layers. */
const LAYERS = 1_000;
const ID_LENGTH = 128;

/** What the engine calls the states of a layer. */
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
 * Keeps count of a pull from the lines of progress that the engine sends. Whatever they say, no count is negative, and
 * none is above its total.
 */
export class PullTracker {
  readonly #layers = new Map<string, Layer>();

  /** Takes a line of the engine, parsed; tells whether it says anything about a layer. */
  add(line: unknown): boolean {
    const { id, status, progressDetail } = fieldsOf(line);
    if (typeof id !== "string" || id.length > ID_LENGTH || typeof status !== "string") return false;
    const state = stateOf(status);
    if (state === undefined) return false;
    const layer = this.#layers.get(id) ?? { state, current: 0, total: null };
    if (!this.#layers.has(id) && this.#layers.size >= LAYERS) return false;
    this.#layers.set(id, layer);
    layer.state = state;
    const { current, total } = fieldsOf(progressDetail);
    count(layer, bytes(current), bytes(total));
    return true;
  }

  /** How far it is now. */
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
      // A layer whose size nobody told (the registry may leave it out) is at least as large as what has come.
      total_bytes: layers.reduce((sum, { current_bytes, total_bytes }) => sum + (total_bytes ?? current_bytes), 0),
    };
  }
}

function stateOf(status: string): LayerState | undefined {
  return status.startsWith("Retrying in ") ? "retrying" : Object.hasOwn(STATES, status) ? STATES[status] : undefined;
}

/** Bytes count while they are downloaded; what is extracted is counted anew by the engine, from 0 to the same total. */
function count(layer: Layer, current: number | undefined, total: number | undefined): void {
  if (total !== undefined && total > 0) layer.total = total;
  if (layer.state === "downloading" && current !== undefined) layer.current = current;
  const over = layer.state === "downloaded" || layer.state === "extracting" || layer.state === "complete";
  if (over && layer.total !== null) layer.current = layer.total;
  if (layer.total !== null) layer.current = Math.min(layer.current, layer.total);
}

/** A count, or nothing for what is none; the engine says -1 for what it does not know. */
function bytes(value: unknown): number | undefined {
  // Sums of a thousand of these stay exact.
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 2 ** 43 ? value : undefined;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  // Own fields of parsed JSON: whatever they are, they are looked at before they are used.
  return value !== null && typeof value === "object" ? (value as Readonly<Record<string, unknown>>) : {};
}
