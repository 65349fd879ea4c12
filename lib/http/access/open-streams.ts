import { AppError } from "../../domain/errors.ts";

/** Event streams that are open at once: in all, and with one key. Each takes some 20 KB, and at most 4 MiB that wait. */
const OPEN_STREAMS = { all: 1_000, of_key: 200 } as const;
/** The time after which a client may try again, in seconds. */
const RETRY_AFTER_S = 10;

/** Counts the event streams that are open. */
export class OpenStreams {
  readonly #ofKey = new Map<string, number>();
  #all = 0;

  /**
   * Counts one more, and returns what ends that. Throws `too_many_requests` if the key has its part, `overloaded` if all are
   * taken. A caller without a key is on this machine, and counts for all only.
   */
  enter(key_id: string | null): () => void {
    const own = key_id === null ? 0 : (this.#ofKey.get(key_id) ?? 0);
    if (own >= OPEN_STREAMS.of_key) throw full("too_many_requests", OPEN_STREAMS.of_key, "your key has");
    if (this.#all >= OPEN_STREAMS.all) throw full("overloaded", OPEN_STREAMS.all, "the server has");
    this.#change(key_id, 1);
    let isIn = true;
    return () => {
      if (isIn) this.#change(key_id, -1);
      isIn = false;
    };
  }

  #change(key_id: string | null, by: number): void {
    this.#all += by;
    if (key_id === null) return;
    const own = (this.#ofKey.get(key_id) ?? 0) + by;
    if (own === 0) this.#ofKey.delete(key_id);
    else this.#ofKey.set(key_id, own);
  }
}

function full(reason: "too_many_requests" | "overloaded", count: number, who: string): AppError {
  const message = `No more event streams: ${who} ${count} open already, close some or try again in a moment`;
  return new AppError(reason, message, { retry_after_s: RETRY_AFTER_S });
}
