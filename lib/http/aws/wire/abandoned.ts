import type { Clock } from "../../../clock.ts";

/** The time for which another attempt is expected, in milliseconds: AWS's clients wait 20 s between two at most. */
const EXPECTED_MS = 30_000;
/** The most calls that are remembered. */
const MOST = 1_000;

interface Abandoned {
  readonly id: string;
  readonly at: number;
}

/**
 * The calls that clients have given up before they had an answer, for those that do not say which of their requests are attempts of one
 * call (awscli 2.9, boto3 1.26): the next equal request of the same client is another attempt.
 */
export class AbandonedCalls {
  readonly #clock: Pick<Clock, "monotonic">;
  /** By what makes requests equal, the latest last. */
  readonly #calls = new Map<string, Abandoned>();

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** Returns the id of the call that such a request is an attempt of: that of one that was given up, or its own. */
  idFor(request: string, own: string): string {
    const found = this.#calls.get(request);
    this.#calls.delete(request);
    return found !== undefined && found.at > this.#clock.monotonic() - EXPECTED_MS ? found.id : own;
  }

  /** Notes that a client has given up a call. */
  left(request: string, id: string): void {
    this.#calls.delete(request);
    this.#calls.set(request, { id, at: this.#clock.monotonic() });
    const [oldest] = this.#calls.keys();
    if (this.#calls.size > MOST && oldest !== undefined) this.#calls.delete(oldest);
  }
}
