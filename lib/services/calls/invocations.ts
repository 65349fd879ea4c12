import type { Clock } from "../../clock.ts";
import { aborted, NamedTasks, onAbort, TaskGroup } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import { isBooted } from "../../domain/functions/contract.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type {
  Invocation,
  InvocationLogs,
  InvocationPage,
  InvocationQuery,
  Undelivered,
} from "../../domain/calls/invocations.ts";
import { notFound } from "../../domain/quoted.ts";
import type { SecretValues } from "../../domain/secrets.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";
import type { RunnerRun } from "../../runner/call.ts";
import type { Runner } from "../../runner/runner.ts";
import type { History } from "../../store/history.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { KeptMemory } from "./bodies/kept-body.ts";
import { PassingBodies } from "./bodies/passing-bodies.ts";
import type { Answer, BegunCall, Elsewhere, InvokeCall, PassedOn } from "./call.ts";
import { CallRecords } from "./call-records.ts";
import type { InvocationEvents } from "./events.ts";
import { known, newRecord, rounded } from "./record.ts";
import type { Recorder } from "./recorder.ts";
import { endOf, sentBytes, wholeOutcome } from "./whole-outcome.ts";

/** A call whose function may stream. */
interface StreamedCall extends BegunCall {
  readonly passing: PassingBodies;
  /** Stops listening to what could end it. */
  readonly end: () => void;
}

interface InvocationServiceDeps {
  readonly history: History;
  readonly recorder: Recorder;
  readonly functions: Pick<FunctionService, "withImage" | "idOf">;
  readonly runner: Pick<Runner, "run">;
  /** The memory for the bodies that are kept for records while they pass, and the most bytes of each. */
  readonly memory: KeptMemory;
  readonly kept_bytes: number;
  /** Returns the current values of a function's secrets; throws if one is missing. */
  readonly secretsFor: (fn: Function) => SecretValues;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly events: InvocationEvents;
  readonly tracing: Tracing;
  /** Undefined without other servers. */
  readonly elsewhere: Elsewhere | undefined;
}

/** Runs functions for callers that wait, and keeps the records. */
export class InvocationService implements AsyncDisposable {
  readonly #deps: InvocationServiceDeps;
  readonly #records: CallRecords;
  readonly #active = new TaskGroup();
  /** The ends of the records of calls that have their answer, by their ids. */
  readonly #endings = new NamedTasks(this.#active);
  /** The same for those that another server has answered: it still has to write them. */
  readonly #passedOn = new NamedTasks(this.#active);
  /** The controllers that end the calls that run. Not listeners of one signal: to add and remove one takes longer than all of this. */
  readonly #running = new Set<AbortController>();
  /** Aborts with the reason why all calls end. */
  readonly #stop = new AbortController();
  #draining = false;

  constructor(deps: InvocationServiceDeps) {
    this.#deps = deps;
    this.#records = new CallRecords(deps);
  }

  /** Runs a function once. Throws only if the call was refused before it became an invocation. */
  async invoke(call: InvokeCall): Promise<Answer> {
    if (this.#draining)
      throw new AppError("shutting_down", "The server is stopping: try again in a moment", { retry_after_s: 5 });
    const there = this.#deps.elsewhere?.invoke(call, this.#stop.signal);
    if (there === undefined) return this.#active.add(this.#invoke(call));
    const made = there.then(
      (passed) => (passed === undefined ? this.#invoke(call) : this.#answered(call.id, passed)),
      (error: unknown) => this.#records.lost(call, error),
    );
    return this.#active.add(made);
  }

  async list(query: InvocationQuery): Promise<InvocationPage> {
    await this.#deps.recorder.flush();
    const { function_id } = query;
    // A name works in place of the id; the records of a deleted function are found by its id only.
    return this.#deps.history.list(
      function_id === undefined ? query : { ...query, function_id: this.#deps.functions.idOf(function_id) },
    );
  }

  async get(id: string): Promise<Invocation> {
    await Promise.all([this.#deps.recorder.flush(), this.#passedOn.ended(id)]);
    const found = await this.#deps.history.get(id);
    if (found === undefined) throw notFound("invocation", id);
    return found;
  }

  /** Returns what the function has printed, in its latest attempt; while it runs, so far. */
  async logs(id: string): Promise<InvocationLogs> {
    const { status, attempts, log_dropped_bytes } = await this.get(id);
    const { history, events } = this.#deps;
    const live = status === "running" ? events.output(id) : undefined;
    if (live !== undefined) return { entries: live, dropped_bytes: 0 };
    // Between two attempts, the logs are those of the last one.
    const entries = status === "queued" ? await history.attemptLogs(id, attempts) : await history.logs(id);
    return { entries: entries ?? [], dropped_bytes: log_dropped_bytes };
  }

  /** Waits until the record of a call that came in here is final: all that its function has printed is in it. Not for other calls. */
  ended(id: string): Promise<void> {
    return this.#endings.ended(id);
  }

  /** Waits until the record of a call that is made here is final, and written, if that is possible. */
  async recorded(id: string): Promise<void> {
    await this.ended(id);
    await this.#deps.recorder.flush();
  }

  /** Notes in the record that the function's answer did not reach its caller in whole. */
  undelivered(id: string, why: Undelivered): void {
    const noted = this.#draining ? "shutting_down" : why;
    this.#deps.log.info("answer not delivered", { request_id: id, why: noted });
    this.#deps.recorder.undelivered(id, noted);
  }

  /** Takes no more calls, waits for those that run, and ends them after the grace period. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    if (this.#active.size === 0) return;
    this.#deps.log.info("draining", { calls: this.#active.size, grace_ms: graceMs });
    const cancel = this.#deps.clock.after(graceMs, () => this.abort());
    await this.#active.settled();
    cancel();
  }

  /** Ends all calls that run now. */
  abort(): void {
    const message = "The server stopped before the function ended: try again in a moment";
    this.#stop.abort(new AppError("shutting_down", message));
    for (const call of this.#running) call.abort(this.#stop.signal.reason);
  }

  /** Makes what ends a call: its client, or the end of all calls. `release` must be called when it has ended. */
  #abortable({ signal }: InvokeCall): { readonly abort: AbortController; readonly release: () => void } {
    const abort = new AbortController();
    if (this.#stop.signal.aborted) abort.abort(this.#stop.signal.reason);
    this.#running.add(abort);
    const stop = onAbort(signal, () => abort.abort(signal.reason));
    const release = () => {
      stop();
      this.#running.delete(abort);
    };
    return { abort, release };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    this.abort();
    await this.#active.settled();
  }

  async #invoke(call: InvokeCall): Promise<Answer> {
    const { id, target } = call;
    const { body } = call.request;
    const bytes = body instanceof Uint8Array ? body.length : 0;
    const { clock, tracing } = this.#deps;
    const trace = tracing.begin(id, call.request.headers);
    const record: Invocation = newRecord(id, target, bytes, timestamp(clock.now()), trace);
    const { abort, release } = this.#abortable(call);
    let timings: Partial<Invocation> = {};
    let answered = false;
    const end = () => {
      answered = true;
      release();
    };
    try {
      // The image is nearly always known. Then the call does not wait for a promise.
      const asked = target.function;
      const fn = asked.image_id === null ? await this.#deps.functions.withImage(asked) : asked;
      Object.assign(record, { image_id: fn.image_id });
      if (call.ready_only !== true) this.#records.begin(record);
      const begun = { ...call, function: fn, abort };
      const streams = isBooted(fn.contract) || !(body instanceof Uint8Array);
      const passing = streams ? this.#passing(begun) : undefined;
      const request = tracing.handedOver(call.request, record, null);
      const run = await this.#deps.runner.run({
        id,
        function: fn,
        request: passing === undefined ? request : { ...request, body: passing.upload(body) },
        secrets: this.#deps.secretsFor(fn),
        signal: abort.signal,
        ...(call.collect === true && { collect: true }),
        ...(call.ready_only === true && { ready_only: true }),
        onTiming: (timing) => {
          timings = { ...timings, ...rounded(timing) };
          if (timing.start === undefined) return;
          if (call.ready_only === true) this.#records.begin(record);
          call.onStart?.();
          passing?.handedOver();
        },
        // A function that ran past its deadline may print something after the call has its answer.
        onLogs: (entries) => answered || this.#deps.events.logged(record, entries),
      });
      // A function whose request has arrived may still answer while it runs.
      const passes =
        passing ?? (run.outcome.response?.body instanceof ReadableStream ? this.#passing(begun) : undefined);
      if (passes !== undefined)
        return await this.#streamed({ ...record, ...timings }, run, { ...begun, passing: passes, end });
      const answer = this.#records.finish({ ...record, ...timings }, run.outcome, begun);
      end();
      // The function may still be ending; what it does until then belongs in the record.
      const put = (last: Outcome) => this.#records.put({ ...answer.invocation, ...known(last) }, last);
      this.#endings.add(
        id,
        run.ended.then((last) => last !== run.outcome && put(last)),
      );
      return answer;
    } catch (error) {
      end();
      return this.#records.fail({ ...record, ...timings }, error, call);
    }
  }

  #passing({ function: fn, request, abort }: BegunCall): PassingBodies {
    const { clock, memory, kept_bytes } = this.#deps;
    const keep = fn.record_bodies && request.upgrade !== true ? { bytes: kept_bytes, memory } : null;
    return new PassingBodies({
      clock,
      idle_timeout_ms: fn.idle_timeout_ms,
      keep,
      abort: (reason) => abort.abort(reason),
    });
  }

  /**
   * Answers with a run whose function may stream. Its record is final when the last byte of the answer has passed, or at once if
   * there is nothing that still passes.
   */
  async #streamed(record: Invocation, run: RunnerRun, call: StreamedCall): Promise<Answer> {
    const { passing, abort, end, collect } = call;
    const began = this.#deps.clock.monotonic() - (record.run_ms ?? 0);
    const asked = collect ? await wholeOutcome(run, this.#deps.kept_bytes, (error) => abort.abort(error)) : run.outcome;
    const { response } = asked;
    if (response === null || response.body instanceof Uint8Array) {
      const answer = this.#records.finish({ ...record, request_bytes: sentBytes(asked, call) }, asked, call);
      end();
      const put = (last: Outcome) =>
        this.#records.put({ ...answer.invocation, ...endOf(answer.invocation, last, call) }, last);
      const ended = run.ended.then((last) => last !== asked && put(last));
      this.#endings.add(
        call.id,
        ended.finally(() => passing[Symbol.dispose]()),
      );
      return answer;
    }
    const running: Invocation = { ...record, ...known(run.outcome), status: "running", reason: null, message: null };
    this.#deps.recorder.put(running);
    const finish = (last: Outcome) => {
      const run_ms = (passing.endedAt ?? this.#deps.clock.monotonic()) - began;
      const response_bytes = last.response_bytes ?? passing.response_bytes;
      const request_bytes = sentBytes(last, call);
      this.#records.finish(
        { ...running, ...rounded({ run_ms }), request_bytes },
        { ...last, response, response_bytes },
        call,
      );
      end();
      passing[Symbol.dispose]();
    };
    // A reader that takes its time has the end of the answer later than the run; a call that is ended does not wait for it.
    const passed = Promise.race([passing.settled, aborted(abort.signal)]);
    const ended = run.ended.then((last) => passed.then(() => finish(last)));
    this.#endings.add(call.id, ended);
    return { invocation: running, response: { ...response, body: passing.download(response.body) } };
  }

  /** Takes the answer of another server, which writes the record: whoever reads that here once there is the answer finds all of it. */
  #answered(id: string, { answer, answered, recorded }: PassedOn): Answer {
    this.#endings.add(id, recorded);
    void answered.then(() => this.#passedOn.add(id, recorded));
    return answer;
  }
}
