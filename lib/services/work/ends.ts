import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { LOST_ATTEMPTS } from "../../domain/limits.ts";
import { judgeRetry } from "../../domain/functions/retry.ts";
import { timestamp } from "../../domain/types.ts";
import { nextState, type WorkEvent } from "../../domain/calls/states.ts";
import type { Logger } from "../../log.ts";
import type { Store } from "../../store/sqlite/store.ts";
import type { Work } from "../../store/sqlite/tables/work.ts";
import type { AttemptResult, AttemptMaker, Running } from "./attempts.ts";
import { endedAttempt, type Finished } from "./attempt-record.ts";

/** What an end brings about: it is part of the transaction that says so. What it returns is called after the commit. */
export type Consequences = (invocation: Invocation, result: AttemptResult | undefined) => (() => void) | undefined;

/** Several consequences as one. */
export function together(...all: readonly Consequences[]): Consequences {
  return (invocation, result) => {
    const committed = all.map((each) => each(invocation, result));
    return () => {
      for (const run of committed) run?.();
    };
  };
}

/** What was written, and what is to be done once that is committed. */
export interface Written {
  readonly invocation: Invocation;
  readonly committed: (() => void) | undefined;
}

/** Before an attempt that found no place is made again, in milliseconds. */
const NO_PLACE_MS = 1_000;

/** Writes what attempts leave: an end, or another attempt. Every method is part of the caller's transaction. */
export class WorkEnds {
  readonly #store: Pick<Store, "work" | "invocations" | "attempts" | "payloads">;
  readonly #attempts: AttemptMaker;
  readonly #consequences: Consequences;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(options: {
    store: Pick<Store, "work" | "invocations" | "attempts" | "payloads">;
    attempts: AttemptMaker;
    consequences: Consequences;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#attempts = options.attempts;
    this.#consequences = options.consequences;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Part of a transaction: what an attempt that was made leaves. */
  end(running: Running, result: AttemptResult): Written {
    const { work, invocation: before, abort, cancelled } = running;
    const now = this.#clock.now();
    const { finished } = result;
    const lost = result.lost || (abort.signal.aborted && !cancelled && finished.status === "cancelled");
    this.#store.attempts.save(
      work.invocation_id,
      endedAttempt(running.attempt, finished, lost, timestamp(now)),
      result.logs,
    );
    const record: Invocation = { ...before, ...finished.fields, finished_at: timestamp(now) };
    if (finished.status === "succeeded") return this.#finish(moved(record, "succeed"), result);
    if (cancelled) return this.#finish({ ...moved(record, "cancel"), reason: "cancelled" }, result);
    if (lost) return this.lose(work, record, now);
    const counted = work.attempts - work.lost_attempts;
    const verdict = judgeRetry(
      this.#attempts.retryOf(before),
      { reason: record.reason, attempts: counted, wish: result.wish },
      this.#clock.random(),
    );
    if (!verdict.retry) return this.#finish(moved(record, "give_up"), result);
    return this.#requeue(work, moved(record, "retry"), now + verdict.after_ms);
  }

  /** Part of a transaction: the function was not handed the request. */
  notBegun(running: Running, error: unknown): Written {
    const { work, invocation, cancelled, abort } = running;
    const now = this.#clock.now();
    const known =
      error instanceof AppError ? error : new AppError("internal", "Internal error: the server's log has more");
    if (known.reason === "internal") this.#log.error("attempt failed", { request_id: invocation.id, error });
    const record = { ...invocation, reason: known.reason, message: known.message };
    if (cancelled) {
      this.#store.attempts.remove(invocation.id, work.attempts);
      const ended = { ...moved(invocation, "cancel"), attempts: work.attempts - 1, finished_at: timestamp(now) };
      // Not what kept it from running, which is none of the matter.
      return this.#finish({ ...ended, reason: "cancelled", message: CANCELLED_BEFORE_IT_RAN }, undefined);
    }
    // Nobody was asked to do anything: it is no attempt.
    if (abort.signal.aborted || !this.#attempts.available || NO_PLACE.has(known.reason)) {
      this.#store.attempts.remove(invocation.id, work.attempts);
      const after = known.retry_after_s === undefined ? NO_PLACE_MS : known.retry_after_s * 1000;
      return this.#requeue({ ...work, attempts: work.attempts - 1 }, moved(record, "lose"), now + after);
    }
    const finished: Finished = { status: "failed", fields: { reason: known.reason, message: known.message } };
    this.#store.attempts.save(invocation.id, endedAttempt(running.attempt, finished, false, timestamp(now)));
    const counted = work.attempts - work.lost_attempts;
    const failed = { reason: known.reason, attempts: counted };
    const verdict = judgeRetry(this.#attempts.retryOf(invocation), failed, this.#clock.random());
    if (verdict.retry) return this.#requeue(work, moved(record, "retry"), now + verdict.after_ms);
    return this.#finish({ ...moved(record, "give_up"), finished_at: timestamp(now) }, undefined);
  }

  #finish(invocation: Invocation, result: AttemptResult | undefined): Written {
    this.#store.work.remove(invocation.id);
    this.#store.invocations.put(invocation, result?.logs);
    if (result !== undefined)
      this.#store.payloads.answer(invocation.id, { response: result.response, response_meta: result.response_meta });
    return { invocation, committed: this.#consequences(invocation, result) };
  }

  #requeue(work: Work, record: Invocation, due: number): Written {
    const { attempts } = work;
    const invocation: Invocation = { ...record, attempts, run_at: timestamp(due), finished_at: null };
    this.#store.work.put({ ...work, state: "waiting", due, lease_until: null });
    this.#store.invocations.put(invocation);
    return { invocation, committed: undefined };
  }

  /** Part of a transaction: an attempt was lost with the server or the engine. */
  lose(work: Work, record: Invocation, now: number): Written {
    const lost_attempts = work.lost_attempts + 1;
    if (lost_attempts < LOST_ATTEMPTS) return this.#requeue({ ...work, lost_attempts }, moved(record, "lose"), now);
    const message = `${LOST_ATTEMPTS} attempts were lost with the server or the engine: POST /v1/invocations/<id>/replay tries again`;
    return this.#finish({ ...moved(record, "give_up"), reason: "instance_lost", message }, undefined);
  }
}

/** What the record of an invocation says that was cancelled in time. */
export const CANCELLED_BEFORE_IT_RAN = "It was cancelled before it ran";

/** There was no place, no server or no disk to note the beginning on: that says nothing of the function. */
const NO_PLACE: ReadonlySet<string> = new Set(["overloaded", "too_many_requests", "shutting_down", "storage_full"]);

/** The record in the state that an event leads to (queued-work.ts). */
export function moved(record: Invocation, event: WorkEvent): Invocation {
  const status = nextState(record.status, event);
  if (status === undefined) throw new Error(`An invocation that is ${record.status} cannot ${event}`);
  return { ...record, status };
}
