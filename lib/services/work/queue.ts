import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import { IDEMPOTENCY } from "../../domain/limits.ts";
import { quoted } from "../../domain/quoted.ts";
import type { Submitted } from "../../store/ledger.ts";
import type { Store } from "../../store/store.ts";
import type { CallbackService } from "../callbacks/callbacks.ts";
import type { InvocationEvents } from "../calls/events.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { EndJudge } from "./ends.ts";
import { newInvocation, type Submission } from "./submissions.ts";
import type { Worker } from "./worker.ts";

/** The time between two looks for idempotency keys that have expired, and after one that found some, in milliseconds. */
const PRUNE_MS = 60_000;
const PRUNE_PAUSE_MS = 50;

/** The most that a cancellation waits for another server, in milliseconds: it looks each second. */
const ELSEWHERE_MS = 10_000;

interface AttemptWait extends Disposable {
  readonly ended: Promise<Invocation | undefined>;
  readonly giveUp: (ms: number) => void;
}

interface QueueDeps {
  readonly store: Pick<Store, "ledger" | "history" | "notices">;
  readonly worker: Worker;
  readonly ends: EndJudge;
  readonly events: InvocationEvents;
  readonly callbacks: Pick<CallbackService, "wake">;
  readonly tracing: Pick<Tracing, "ended">;
  readonly clock: Clock;
}

/** Takes asynchronous invocations: every one that it has accepted is on the disk. */
export class Queue implements Disposable {
  readonly #deps: QueueDeps;
  readonly #nextPrune: Alarm;

  constructor(deps: QueueDeps) {
    this.#deps = deps;
    this.#nextPrune = new Alarm(deps.clock, () => void this.#prune());
  }

  /** Begins to forget idempotency keys that have expired. */
  start(): void {
    this.#nextPrune.set(PRUNE_MS);
  }

  [Symbol.dispose](): void {
    this.#nextPrune[Symbol.dispose]();
  }

  /**
   * Takes work; when the promise is fulfilled it is on the disk. Throws `overloaded` if too much waits, and
   * `idempotency_mismatch` if the key came with another request before.
   */
  async submit(submission: Submission): Promise<Submitted> {
    const { store, worker, clock } = this.#deps;
    const { idempotency } = submission;
    const now = clock.now();
    const submitted = await store.ledger.submit(newInvocation(submission, now), idempotency && { ...idempotency, now });
    if (!submitted.repeated) worker.queued(submitted.invocation);
    return submitted;
  }

  /**
   * Ends an invocation that is queued or running; throws `conflict` if it has ended already. If another server runs it and has not
   * ended it in time, returns it as it is: then it ends when that server answers, or when its lease has ended.
   */
  async cancel(id: string): Promise<Invocation> {
    const { store, worker, clock } = this.#deps;
    const until = clock.monotonic() + ELSEWHERE_MS;
    for (;;) {
      const cancelled = await this.#cancelUnattended(id);
      if (cancelled !== undefined) return cancelled;
      using attempt = this.#afterAttempt(id);
      if (!worker.cancel(id)) {
        if (!(await store.ledger.askToCancel(id))) throw notCancellable(id, await store.history.get(id));
        store.notices?.send("cancel", id);
        attempt.giveUp(until - clock.monotonic());
      }
      const after = (await attempt.ended) ?? (await store.history.get(id));
      // An attempt whose end was on its way to the disk may have left another one to make.
      if (after !== undefined && (after.finished_at !== null || clock.monotonic() >= until)) return after;
    }
  }

  /** Ends an invocation at which no server makes an attempt; undefined if one does, or nothing is left to do. */
  async #cancelUnattended(id: string): Promise<Invocation | undefined> {
    const { store, ends, events, callbacks, tracing } = this.#deps;
    const pending = await store.ledger.find(id);
    if (pending === undefined || pending.work.state === "leased") return undefined;
    const end = ends.cancelled(pending);
    if (!(await store.ledger.cancelUnattended(end))) return undefined;
    tracing.ended(end);
    events.changed(end.invocation);
    if (end.deliveries.length > 0) callbacks.wake();
    return end.invocation;
  }

  /** Waits until a running invocation no longer runs, and has its record then; undefined if that was given up. */
  #afterAttempt(id: string): AttemptWait {
    const { promise, resolve } = Promise.withResolvers<Invocation | undefined>();
    const unfollow = this.#deps.events.follow(id, (event) => {
      if (event.type === "state" && event.invocation.status !== "running") resolve(event.invocation);
    });
    let cancel = (): void => undefined;
    return {
      ended: promise,
      giveUp: (ms) => (cancel = this.#deps.clock.after(ms, () => resolve(undefined))),
      [Symbol.dispose]: () => {
        unfollow();
        cancel();
      },
    };
  }

  async #prune(): Promise<void> {
    const { store, clock } = this.#deps;
    // A full disk does no harm: expired keys are ignored, so they can stay.
    const forgotten = await store.ledger.forgetKeys(clock.now() - IDEMPOTENCY.ttl_ms).catch(() => 0);
    // If some were forgotten there may be more; others have their turn first.
    this.#nextPrune.set(forgotten > 0 ? PRUNE_PAUSE_MS : PRUNE_MS);
  }
}

function notCancellable(id: string, record: Invocation | undefined): AppError {
  if (record === undefined) return new AppError("not_found", `No invocation ${quoted(id)}`);
  if (record.mode === "sync" && record.status === "running")
    return new AppError("conflict", "A synchronous invocation ends when its caller goes away: close that connection");
  return new AppError("conflict", `The invocation is ${record.status} already, so there is nothing to cancel`);
}
