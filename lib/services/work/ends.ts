import type { Clock } from "../../clock.ts";
import {
  type Attempt,
  beganAttempt,
  endedAttempt,
  type Finished,
  LOST_WITH_SERVER,
} from "../../domain/calls/attempts.ts";
import { deliveriesOf } from "../../domain/calls/callbacks.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { moved } from "../../domain/calls/states.ts";
import { AppError } from "../../domain/errors.ts";
import { judgeRetry } from "../../domain/functions/retry.ts";
import { LOST_ATTEMPTS } from "../../domain/limits.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { End, PendingWork } from "../../store/ledger.ts";
import type { Work } from "../../store/records.ts";
import type { AttemptMaker, AttemptResult, Running } from "./attempts.ts";
import type { ChainService } from "./chains.ts";

/** The wait before an attempt that found no place is made again, in milliseconds. */
const NO_PLACE_MS = 1_000;

/** The message of an invocation that was cancelled in time. */
const CANCELLED_BEFORE_IT_RAN = "It was cancelled before it ran";

/** The reasons that say nothing about the function: no place, no server, or no disk or database to note the beginning on. */
const NO_PLACE: ReadonlySet<string> = new Set([
  "overloaded",
  "too_many_requests",
  "shutting_down",
  "storage_full",
  "database_unavailable",
]);

/** The parts that are written of an attempt, besides its invocation. */
type AttemptPart = Pick<End, "invocation_id" | "attempt" | "record" | "logs">;

interface EndDeps {
  readonly attempts: Pick<AttemptMaker, "available" | "retryOf">;
  readonly chains: Pick<ChainService, "following">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Decides what attempts leave, as of the moment of the call: an end with what follows from it, or another attempt. */
export class EndJudge {
  readonly #deps: EndDeps;

  constructor(deps: EndDeps) {
    this.#deps = deps;
  }

  /** Returns the end of an attempt that was made. */
  made(running: Running, result: AttemptResult): End {
    const { work, invocation: before, abort, cancelled } = running;
    const now = this.#deps.clock.now();
    const { finished } = result;
    const lost = result.lost || (abort.signal.aborted && !cancelled && finished.status === "cancelled");
    const part = {
      ...partOf(work, endedAttempt(running.attempt, finished, lost, timestamp(now))),
      logs: result.logs,
    };
    const record: Invocation = { ...before, ...finished.fields, finished_at: timestamp(now) };
    if (finished.status === "succeeded") return this.#finish(part, moved(record, "succeed"), result);
    if (cancelled) return this.#finish(part, { ...moved(record, "cancel"), reason: "cancelled" }, result);
    if (lost) return this.#lose(part, work, record);
    const verdict = this.#judge(running, record, result);
    if (!verdict.retry) return this.#finish(part, moved(record, "give_up"), result);
    return requeue(part, work, moved(record, "retry"), { now, ms: verdict.after_ms });
  }

  /** Returns the end of an attempt whose function was not handed the request. */
  notBegun(running: Running, error: unknown): End {
    const { work, invocation, cancelled, abort } = running;
    const { attempts, clock, log } = this.#deps;
    const now = clock.now();
    const known =
      error instanceof AppError ? error : new AppError("internal", "Internal error: the server's log has more");
    if (known.reason === "internal") log.error("attempt failed", { request_id: invocation.id, error });
    const record = { ...invocation, reason: known.reason, message: known.message };
    if (cancelled) {
      const ended = { ...moved(invocation, "cancel"), attempts: work.attempts - 1, finished_at: timestamp(now) };
      // The reason that kept it from running no longer matters.
      const told: Invocation = { ...ended, reason: "cancelled", message: CANCELLED_BEFORE_IT_RAN };
      return this.#finish(partOf(work, "forgotten"), told, undefined);
    }
    // The function was not asked to do anything: this does not count as an attempt.
    if (abort.signal.aborted || !attempts.available || NO_PLACE.has(known.reason)) {
      const after = known.retry_after_s === undefined ? NO_PLACE_MS : known.retry_after_s * 1000;
      const left = { ...work, attempts: work.attempts - 1 };
      return requeue(partOf(work, "forgotten"), left, moved(record, "lose"), { now, ms: after });
    }
    const finished: Finished = { status: "failed", fields: { reason: known.reason, message: known.message } };
    const part = partOf(work, endedAttempt(running.attempt, finished, false, timestamp(now)));
    const verdict = this.#judge(running, record);
    if (verdict.retry) return requeue(part, work, moved(record, "retry"), { now, ms: verdict.after_ms });
    return this.#finish(part, { ...moved(record, "give_up"), finished_at: timestamp(now) }, undefined);
  }

  /** Returns the end of an attempt that was lost with an earlier server. */
  lost({ work, invocation, attempt }: PendingWork): End {
    const now = timestamp(this.#deps.clock.now());
    const began = attempt ?? beganAttempt(work.attempts, now);
    const part = partOf(work, endedAttempt(began, LOST_WITH_SERVER, true, now));
    return this.#lose(part, work, { ...invocation, ...LOST_WITH_SERVER.fields, finished_at: now });
  }

  /** Returns the end of an invocation cancelled while no server attempts it: queued, or lost with its server. */
  cancelled({ work, invocation, attempt }: PendingWork): End {
    const now = timestamp(this.#deps.clock.now());
    const isLost = work.state === "lost";
    const record = isLost && attempt !== null ? endedAttempt(attempt, LOST_WITH_SERVER, true, now) : "unchanged";
    const told: Invocation = {
      ...moved(invocation, "cancel"),
      reason: "cancelled",
      message: isLost ? "It was cancelled after its server had ended" : CANCELLED_BEFORE_IT_RAN,
      run_at: null,
      finished_at: now,
    };
    return this.#finish(partOf(work, record), told, undefined);
  }

  #judge({ work, invocation }: Running, { reason }: Invocation, result?: AttemptResult) {
    const { attempts, clock } = this.#deps;
    const failed = { reason, attempts: work.attempts - work.lost_attempts, wish: result?.wish ?? {} };
    return judgeRetry(attempts.retryOf(invocation), failed, clock.random());
  }

  #lose(part: AttemptPart, work: Work, record: Invocation): End {
    const now = this.#deps.clock.now();
    const lost_attempts = work.lost_attempts + 1;
    const left = { ...work, lost_attempts };
    if (lost_attempts < LOST_ATTEMPTS) return requeue(part, left, moved(record, "lose"), { now, ms: 0 });
    const message = `${LOST_ATTEMPTS} attempts were lost with the server or the engine: POST /v1/invocations/<id>/replay tries again`;
    return this.#finish(part, { ...moved(record, "give_up"), reason: "instance_lost", message }, undefined);
  }

  #finish(part: AttemptPart, invocation: Invocation, result: AttemptResult | undefined): End {
    return {
      ...part,
      invocation,
      answer: result === undefined ? null : { response: result.response, response_meta: result.response_meta },
      left: null,
      deliveries: deliveriesOf(invocation, this.#deps.clock.now()),
      submissions: this.#deps.chains.following(invocation, result),
    };
  }
}

function partOf({ invocation_id, attempts }: Work, record: Attempt | "forgotten" | "unchanged"): AttemptPart {
  return { invocation_id, attempt: attempts, record };
}

/** Returns the end of an attempt after which another is made, so many milliseconds from now. */
function requeue(
  part: AttemptPart,
  { attempts, lost_attempts }: Work,
  record: Invocation,
  { now, ms }: { readonly now: number; readonly ms: number },
): End {
  const due = now + ms;
  return {
    ...part,
    invocation: { ...record, attempts, run_at: timestamp(due), finished_at: null },
    answer: null,
    left: { due, attempts, lost_attempts, waits_since: now },
    deliveries: [],
    submissions: [],
  };
}
