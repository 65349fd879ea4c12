import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { AppError, type Reason } from "../../domain/errors.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";
import type { Payload } from "../../store/records.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { PassingBodies } from "./bodies/passing-bodies.ts";
import type { Answer, BegunCall, InvokeCall } from "./call.ts";
import type { InvocationEvents } from "./events.ts";
import { lambdaFailure } from "./lambda-failure.ts";
import { countRun, endedBy, exchangedOf, known, newRecord, verdictOf, whyGone } from "./record.ts";
import type { Recorder } from "./recorder.ts";
import { payloadOf } from "./stored-messages.ts";

/** Calls that are refused at once leave no record: under overload they would push out the records of real calls. */
const TURNED_AWAY: ReadonlySet<Reason> = new Set(["overloaded", "too_many_requests", "shutting_down"]);

interface CallRecordsDeps {
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly events: InvocationEvents;
  readonly tracing: Tracing;
}

/** The records of synchronous calls: each change is written, told to those who follow the call, and counted at its end. */
export class CallRecords {
  readonly #deps: CallRecordsDeps;

  constructor(deps: CallRecordsDeps) {
    this.#deps = deps;
  }

  /** Writes the record of a call that begins. */
  begin(record: Invocation): void {
    this.#deps.recorder.put(record);
    this.#deps.events.changed(record);
  }

  /** Writes the record of a call that has its end; once more if its function has printed something since. */
  put(invocation: Invocation, outcome: Outcome, payload?: Payload): void {
    this.#deps.recorder.put(invocation, outcome.logs, payload);
    this.#deps.events.changed(invocation);
    this.#deps.log.debug("invocation ended", {
      request_id: invocation.id,
      function_id: invocation.function_id,
      status: invocation.status,
      reason: invocation.reason,
      exit_code: invocation.exit_code,
      run_ms: invocation.run_ms,
    });
  }

  /** Ends a call whose run has ended, and returns its answer. */
  finish(record: Invocation, outcome: Outcome, call: BegunCall & { readonly passing?: PassingBodies }): Answer {
    const invocation: Invocation = {
      ...record,
      ...known(outcome),
      // A server that stops ends calls just as a client that goes away, but here the caller still gets an answer.
      ...verdictOf(outcome, call.abort.signal),
      finished_at: timestamp(this.#deps.clock.now()),
    };
    this.put(invocation, outcome, call.function.record_bodies ? payloadOf(call, outcome) : undefined);
    countRun(this.#deps.metrics, invocation, call.function);
    this.#deps.tracing.called(invocation, exchangedOf(call, outcome));
    return { invocation, response: outcome.response ?? lambdaFailure(invocation, call.function, call) };
  }

  /** Ends a call that never reached a gate. Throws if it was refused before it became an invocation. */
  fail(record: Invocation, thrown: unknown, call: InvokeCall): Answer {
    const { target, signal: client } = call;
    const error = client.aborted ? whyGone(client) : this.#explain(thrown, record.id);
    if (call.ready_only === true && record.start === null) throw error;
    if (TURNED_AWAY.has(error.reason)) {
      this.#deps.recorder.drop(record.id);
      this.#deps.metrics.rejections.inc({ reason: error.reason });
      throw error;
    }
    const invocation = endedBy(record, error, timestamp(this.#deps.clock.now()));
    this.#deps.recorder.put(invocation, []);
    this.#deps.events.changed(invocation);
    countRun(this.#deps.metrics, invocation, target.function);
    this.#deps.tracing.called(invocation, exchangedOf(call));
    return {
      invocation,
      response: lambdaFailure(invocation, target.function, { ...call, thrown }),
      not_begun: true,
      ...(error.retry_after_s !== undefined && { retry_after_s: error.retry_after_s }),
    };
  }

  /** Ends a call that another server runs, or may have run, and whose answer is lost. */
  lost(call: InvokeCall, error: unknown): Answer {
    const { id, target, request } = call;
    const bytes = request.body instanceof Uint8Array ? request.body.length : 0;
    const trace = this.#deps.tracing.begin(id, request.headers);
    const now = timestamp(this.#deps.clock.now());
    const record = newRecord(id, target, bytes, now, trace);
    if (error instanceof AppError && error.reason !== "instance_lost") {
      const invocation = endedBy(record, error, now);
      return { invocation, response: lambdaFailure(invocation, target.function, call) };
    }
    const { not_begun: _begun, ...answer } = this.fail(record, error, call);
    return answer;
  }

  #explain(thrown: unknown, id: string): AppError {
    if (thrown instanceof AppError) {
      if (thrown.cause !== undefined) this.#deps.log.warn("invocation failed", { request_id: id, error: thrown });
      return thrown;
    }
    this.#deps.log.error("invocation failed", { request_id: id, error: thrown });
    return new AppError("internal", "Internal error: look for this request id in the server's log", {
      cause: thrown,
    });
  }
}
