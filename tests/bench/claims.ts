import { systemClock } from "../../lib/clock.ts";
import { RETRY_DEFAULT } from "../../lib/domain/functions/retry.ts";
import { createLogger } from "../../lib/log.ts";
import type { AttemptResult, AttemptMaker } from "../../lib/services/work/attempts.ts";
import { InvocationEvents } from "../../lib/services/calls/events.ts";
import { EndJudge } from "../../lib/services/work/ends.ts";
import { Worker } from "../../lib/services/work/worker.ts";
import { databasePath, openSqliteStore } from "../../lib/store/sqlite/store.ts";
import { NO_TRACING } from "../services/support/no-tracing.ts";

const SUCCEEDED: AttemptResult = {
  finished: { status: "succeeded", fields: { exit_code: 0 } },
  response: Buffer.from("{}"),
  response_meta: null,
  logs: [],
  wish: {},
  lost: false,
  gone: Promise.resolve(),
  count: () => undefined,
};

/** Attempts that take no time, one after the other; `took` has the milliseconds from each look for work to its beginning. */
class InstantAttempts implements AttemptMaker {
  readonly took: number[] = [];
  readonly #count: number;
  readonly #all = Promise.withResolvers<void>();
  #running = false;
  #looked: number | undefined;

  constructor(count: number) {
    this.#count = count;
  }

  get all(): Promise<void> {
    return this.#all.promise;
  }

  /** Answers the worker, which asks this before it chooses a function. */
  get available(): boolean {
    const isFree = !this.#running && this.took.length < this.#count;
    // It asks again before it begins.
    if (isFree) this.#looked ??= performance.now();
    return isFree;
  }

  room(): number {
    return this.#running ? 0 : 1;
  }

  retryOf() {
    return RETRY_DEFAULT;
  }

  async run(): Promise<AttemptResult> {
    this.took.push(performance.now() - (this.#looked ?? Number.NaN));
    this.#looked = undefined;
    if (this.took.length === this.#count) this.#all.resolve();
    this.#running = true;
    // An attempt begins and ends in different turns of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    this.#running = false;
    return SUCCEEDED;
  }
}

/** Lets a worker claim the work in the database of a directory; returns the time of each claim, in milliseconds. */
export async function claimTimes(dataPath: string, count: number): Promise<readonly number[]> {
  const log = createLogger({ level: "error", format: "json", clock: systemClock });
  const clock = systemClock;
  using store = openSqliteStore(databasePath(dataPath), { log, clock });
  const attempts = new InstantAttempts(count);
  await using worker = new Worker({
    ledger: store.ledger,
    attempts,
    ends: new EndJudge({ attempts, chains: { following: () => [] }, clock, log }),
    events: new InvocationEvents(),
    callbacks: { wake: () => undefined },
    tracing: NO_TRACING,
    clock,
    log,
  });
  worker.start();
  await attempts.all;
  return attempts.took;
}
