import type { Clock } from "../../clock.ts";
import { AppError, messageOf, type Reason } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { RequestMessage } from "../../domain/calls/http-message.ts";
import type { Invocation, InvocationLogs, InvocationPage, InvocationQuery } from "../../domain/calls/invocations.ts";
import type { ResponseMeta } from "../../domain/calls/response-meta.ts";
import type { SecretValues } from "../../domain/secrets.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";
import type { Runner } from "../../runner/runner.ts";
import type { History } from "../../store/history.ts";
import type { Payload } from "../../store/records.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { InvocationEvents } from "./events.ts";
import { countRun } from "./metrics.ts";
import { known, newRecord, rounded } from "./record.ts";
import type { Recorder } from "./recorder.ts";
import { storedRequest, storedResponse } from "./stored-messages.ts";

/** What is to be run, and how it was reached. */
export interface Target {
  readonly function: Function;
  /** Null for a call that named the function itself. */
  readonly route_id: string | null;
}

/** A call as it came in. */
export interface InvokeRequest {
  /** Becomes the id of the invocation. */
  readonly id: string;
  readonly target: Target;
  readonly body: Uint8Array;
  /** Whether the function finds the body as `request.body` too. */
  readonly body_file: boolean;
  /** What the function is told of the request; null for a call that came by none. */
  readonly message: RequestMessage | null;
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
}

/** An invocation that has an answer: the function's own, or null where the record tells why there is none. */
export interface Answer {
  readonly invocation: Invocation;
  readonly response: Uint8Array | null;
  /** Whether the response may be any bytes; otherwise it is JSON. */
  readonly body_file: boolean;
  /** What the function says of its response. */
  readonly meta: ResponseMeta | null;
  /** Seconds after which another try makes sense, where that is known. */
  readonly retry_after_s?: number;
}

/** Calls that are turned away at the door leave no record: under overload they would push out those of real calls. */
const TURNED_AWAY: ReadonlySet<Reason> = new Set(["overloaded", "too_many_requests", "shutting_down"]);

/** Running functions, and the records of having done so. */
export class InvocationService implements AsyncDisposable {
  readonly #history: History;
  readonly #recorder: Recorder;
  readonly #functions: FunctionService;
  readonly #runner: Runner;
  readonly #secretsFor: (fn: Function) => SecretValues;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #events: InvocationEvents;
  readonly #active = new Set<Promise<unknown>>();
  readonly #abortAll = new AbortController();
  #draining = false;

  constructor(options: {
    history: History;
    recorder: Recorder;
    functions: FunctionService;
    runner: Runner;
    /** The values of a function's secrets, as they are now; throws where one cannot be had. */
    secretsFor: (fn: Function) => SecretValues;
    clock: Clock;
    log: Logger;
    metrics: Metrics;
    events: InvocationEvents;
  }) {
    this.#history = options.history;
    this.#recorder = options.recorder;
    this.#functions = options.functions;
    this.#runner = options.runner;
    this.#secretsFor = options.secretsFor;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#events = options.events;
  }

  /** Runs a function once. Throws only where it was turned away before it became an invocation. */
  async invoke(request: InvokeRequest): Promise<Answer> {
    if (this.#draining)
      throw new AppError("shutting_down", "The server is stopping: try again in a moment", { retry_after_s: 5 });
    const answer = this.#invoke(request);
    this.#own(answer);
    return answer;
  }

  async list(query: InvocationQuery): Promise<InvocationPage> {
    await this.#recorder.flush();
    const { function_id } = query;
    // A name stands for the id here too; the records of a deleted function are found by its id only.
    return this.#history.list(
      function_id === undefined ? query : { ...query, function_id: this.#functions.idOf(function_id) },
    );
  }

  async get(id: string): Promise<Invocation> {
    await this.#recorder.flush();
    const found = await this.#history.get(id);
    if (found === undefined) throw unknown(id);
    return found;
  }

  async logs(id: string): Promise<InvocationLogs> {
    const { log_dropped_bytes } = await this.get(id);
    return { entries: await this.#history.logs(id), dropped_bytes: log_dropped_bytes };
  }

  /** Takes no more calls, waits for those that run, and after the grace ends them. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    if (this.#active.size === 0) return;
    this.#log.info("draining", { calls: this.#active.size, grace_ms: graceMs });
    const cancel = this.#clock.after(graceMs, () => this.abort());
    await this.#idle();
    cancel();
  }

  /** Ends all calls that run now. */
  abort(): void {
    this.#abortAll.abort(
      new AppError("shutting_down", "The server stopped before the function ended: try again in a moment"),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    this.abort();
    await this.#idle();
  }

  async #invoke(request: InvokeRequest): Promise<Answer> {
    const { id, target, body, body_file, message } = request;
    const record: Invocation = newRecord(id, target, body.length, timestamp(this.#clock.now()));
    const abort = new AbortController();
    const release = forwardAborts([request.signal, this.#abortAll.signal], abort);
    let timings: Partial<Invocation> = {};
    try {
      const fn = await this.#functions.withImage(target.function);
      Object.assign(record, { image_id: fn.image_id });
      this.#recorder.put(record);
      this.#events.changed(record);
      const run = await this.#runner.run({
        id,
        function: fn,
        ...{ body, body_file, message, secrets: this.#secretsFor(fn) },
        signal: abort.signal,
        onTiming: (timing) => (timings = { ...timings, ...rounded(timing) }),
        onLogs: (entries) => this.#events.logged(id, entries),
      });
      const answer = this.#finish({ ...record, ...timings }, run.outcome, { ...request, function: fn });
      // The function may still be on its way out; its last words belong to the record.
      this.#own(
        run.ended.then((last) => last !== run.outcome && this.#put({ ...answer.invocation, ...known(last) }, last)),
      );
      return answer;
    } catch (error) {
      return this.#fail({ ...record, ...timings }, error, request);
    } finally {
      release();
    }
  }

  #finish(record: Invocation, outcome: Outcome, request: InvokeRequest & { readonly function: Function }): Answer {
    // A server that stops ends calls just as a client that goes away does, but its caller is still there to be told.
    const stopped = outcome.status === "cancelled" && this.#abortAll.signal.aborted;
    const verdict = stopped
      ? {
          status: "failed" as const,
          reason: "shutting_down" as const,
          message: messageOf(this.#abortAll.signal.reason),
        }
      : {};
    const invocation: Invocation = {
      ...record,
      ...known(outcome),
      ...verdict,
      finished_at: timestamp(this.#clock.now()),
    };
    this.#put(invocation, outcome, request.function.record_bodies ? payloadOf(request, outcome) : undefined);
    countRun(this.#metrics, invocation, request.function);
    const { response, body_file, meta } = outcome;
    return { invocation, response, body_file, meta };
  }

  /** A call that never reached a gate. */
  #fail(record: Invocation, thrown: unknown, { target, signal: client }: InvokeRequest): Answer {
    const error = client.aborted
      ? new AppError("cancelled", "The client went away before the function ran")
      : this.#explain(thrown, record.id);
    if (TURNED_AWAY.has(error.reason)) {
      this.#recorder.drop(record.id);
      this.#metrics.rejections.inc({ reason: error.reason });
      throw error;
    }
    const invocation: Invocation = {
      ...record,
      status: error.reason === "cancelled" ? "cancelled" : "failed",
      reason: error.reason,
      message: error.message,
      finished_at: timestamp(this.#clock.now()),
    };
    this.#recorder.put(invocation, []);
    this.#events.changed(invocation);
    countRun(this.#metrics, invocation, target.function);
    return {
      invocation,
      ...{ response: null, body_file: false, meta: null },
      ...(error.retry_after_s !== undefined && { retry_after_s: error.retry_after_s }),
    };
  }

  #explain(thrown: unknown, id: string): AppError {
    if (thrown instanceof AppError) {
      if (thrown.cause !== undefined) this.#log.warn("invocation failed", { request_id: id, error: thrown });
      return thrown;
    }
    this.#log.error("invocation failed", { request_id: id, error: thrown });
    return new AppError("internal", "Internal error: the server's log has more under this request id", {
      cause: thrown,
    });
  }

  #put(invocation: Invocation, outcome: Outcome, payload?: Payload): void {
    this.#recorder.put(invocation, outcome.logs, payload);
    this.#events.changed(invocation);
    this.#log.debug("invocation ended", {
      request_id: invocation.id,
      function_id: invocation.function_id,
      status: invocation.status,
      reason: invocation.reason,
      exit_code: invocation.exit_code,
      run_ms: invocation.run_ms,
    });
  }

  #own(work: Promise<unknown>): void {
    const owned: Promise<unknown> = work.then(
      () => this.#active.delete(owned),
      () => this.#active.delete(owned),
    );
    this.#active.add(owned);
  }

  async #idle(): Promise<void> {
    while (this.#active.size > 0) await Promise.all(this.#active);
  }
}

/** What is kept of a synchronous call where its function says so. */
function payloadOf({ id, body, message, body_file }: InvokeRequest, outcome: Outcome): Payload {
  const { response } = outcome;
  return {
    ...{ invocation_id: id, request: body, request_meta: storedRequest({ message, body_file }), response },
    response_meta: response === null ? null : storedResponse(outcome),
  };
}

/**
 * Aborts with the first of these signals, until it is released. Not AbortSignal.any: what that makes stays known to its
 * sources, and the one that ends all calls lives as long as the server.
 */
function forwardAborts(sources: readonly AbortSignal[], abort: AbortController): () => void {
  const listeners = sources.map((source) => {
    const forward = () => abort.abort(source.reason);
    if (source.aborted) forward();
    source.addEventListener("abort", forward, { once: true });
    return () => source.removeEventListener("abort", forward);
  });
  return () => listeners.forEach((remove) => remove());
}

function unknown(id: string): AppError {
  return new AppError(
    "not_found",
    `No invocation ${JSON.stringify(id.slice(0, 100))}: GET /v1/invocations lists those that are kept`,
  );
}
