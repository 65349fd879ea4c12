import type { Clock } from "../../clock.ts";
import { clientOf } from "./client-address.ts";
import { shareOf, TokenBuckets } from "./token-buckets.ts";

/** Wrong keys that an address may send before it has to wait. */
const BURST = 5;
/** The time that a wrong key counts, in milliseconds. */
const REFILL_MS = 12_000;
/** The longest wait for an address, in milliseconds. */
const LONGEST_MS = 15 * 60_000;
/** Addresses that are remembered; each takes about 200 bytes. */
const ADDRESSES = 10_000;

const SIZE = { tokens: BURST, window_ms: BURST * REFILL_MS };

/**
 * Slows down clients that guess keys, with a token bucket for each address. Every wrong key costs a token even if none is
 * left, so a client that does not wait has to wait longer. Right keys are not counted: a stranger behind the same address
 * cannot lock out the owner of a key, and 256 bits cannot be guessed at any speed. Of several servers, each accepts its share.
 */
export class KeyGuesses {
  readonly #buckets: TokenBuckets;
  readonly #serverCount: () => number;

  /** `serverCount` returns the number of servers that share the limit. */
  constructor(clock: Pick<Clock, "monotonic">, serverCount: () => number = () => 1) {
    this.#buckets = new TokenBuckets({ clock, max: ADDRESSES });
    this.#serverCount = serverCount;
  }

  /** Counts a wrong key. Returns the seconds to wait if there were too many. */
  failed(address: string): number | undefined {
    const servers = this.#serverCount();
    const refillMs = REFILL_MS * servers;
    const tokens = this.#buckets.spend(clientOf(address), shareOf(SIZE, servers), 1 - LONGEST_MS / refillMs);
    return tokens < 0 ? Math.ceil(((1 - tokens) * refillMs) / 1_000) : undefined;
  }

  /** The number of addresses that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }
}
