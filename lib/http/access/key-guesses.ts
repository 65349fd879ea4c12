import type { Clock } from "../../clock.ts";
import { clientOf } from "./client-address.ts";
import { TokenBuckets } from "./token-buckets.ts";

/** Wrong keys that an address may send at once. */
const BURST = 5;
/** From one wrong key to the next that is answered as such, once the burst is spent. */
const REFILL_MS = 12_000;
/** The longest that an address is told to wait. */
const LONGEST_MS = 15 * 60_000;
/** Addresses that are remembered; each needs some 200 bytes. */
const ADDRESSES = 10_000;

const SIZE = { tokens: BURST, window_ms: BURST * REFILL_MS };

/**
 * Slows down whoever guesses keys: a token bucket for each address. Every wrong key costs one token, also where none is
 * left, so that who does not wait has to wait longer. A right key is not asked about here: the owner of one is never
 * locked out by a stranger behind the same address, and nobody guesses 256 bits however fast he may try.
 */
export class KeyGuesses {
  readonly #buckets: TokenBuckets;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#buckets = new TokenBuckets({ clock, max: ADDRESSES });
  }

  /** Takes note of a wrong key; the seconds to wait where there were too many. */
  failed(address: string): number | undefined {
    const tokens = this.#buckets.spend(clientOf(address), SIZE, 1 - LONGEST_MS / REFILL_MS);
    return tokens < 0 ? Math.ceil(((1 - tokens) * REFILL_MS) / 1_000) : undefined;
  }

  /** Addresses that are remembered now. */
  get size(): number {
    return this.#buckets.size;
  }
}
