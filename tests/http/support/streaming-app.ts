import type { Server, ServerWebSocket } from "bun";
import { type Clock, systemClock } from "../../../lib/clock.ts";
import type { FunctionResponse, MessageBody } from "../../../lib/domain/calls/http-message.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { BodyMemory } from "../../../lib/http/calls/body-memory.ts";
import { call } from "../../../lib/http/calls/invoke.ts";
import { createBodyReader } from "../../../lib/http/wire/body.ts";
import { errorResponse, shownError } from "../../../lib/http/wire/errors.ts";
import { watching } from "../../../lib/http/wire/idle-timeouts.ts";
import { SlowReaders } from "../../../lib/http/wire/slow-readers.ts";
import { createUploads } from "../../../lib/http/calls/upload.ts";
import { Metrics } from "../../../lib/metrics.ts";
import type { Call, RunnerRun } from "../../../lib/runner/call.ts";
import type { Outcome } from "../../../lib/runner/instance/outcome.ts";
import { Freshness } from "../../../lib/services/cluster/freshness.ts";
import { InvocationEvents } from "../../../lib/services/calls/events.ts";
import { IdempotentCalls } from "../../../lib/services/calls/idempotent-calls.ts";
import { InvocationService } from "../../../lib/services/calls/invocations.ts";
import { Recorder } from "../../../lib/services/calls/recorder.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { BARE_OUTCOME } from "../../services/support/outcomes.ts";
import { listeningLog, newStore, someFunction } from "../../store/sqlite/support/stores.ts";
import { NO_TRACING } from "../../services/support/no-tracing.ts";

/** The behaviour of a server of the contract `http` in a call: its answer, once it gives one. */
export type Behaviour = (call: Call) => Promise<FunctionResponse> | FunctionResponse;

const DAY_MS = 86_400_000;

/** The path of a call without a route. */
const PATH = { path: "/", path_rest: null, route: null, keyed: false };

/** All of the server above its runner, on a port of its own, with a function that behaves as a test says. */
export class StreamingApp implements AsyncDisposable {
  readonly #store: SqliteStore = newStore(undefined, systemClock);
  readonly #recorder: Recorder;
  readonly #server: Server<unknown>;
  readonly invocations: InvocationService;
  readonly bodyMemory: BodyMemory;
  readonly slowReaders: SlowReaders;
  behave: Behaviour = () => bytes("");
  fn: Function;

  constructor({
    clock = systemClock,
    stallMs = 60_000,
    requestBytes = 1 << 20,
    keptBytes = 1 << 20,
    settings = {},
  }: {
    readonly clock?: Clock;
    readonly stallMs?: number;
    readonly requestBytes?: number;
    readonly keptBytes?: number;
    readonly settings?: Partial<Function>;
  } = {}) {
    this.fn = someFunction("f1", { contract: "http", port: 8080, ...settings });
    const { log } = listeningLog();
    const metrics = new Metrics();
    const { history, ledger } = this.#store;
    const retention = { max_age_ms: 365 * DAY_MS, max_count: 1_000 };
    this.#recorder = new Recorder({ history, clock, log, metrics, retention, tracing: NO_TRACING });
    this.bodyMemory = new BodyMemory({ clock, budget: 64 << 20 });
    const timeouts = { keep_alive_ms: 75_000, stall_ms: stallMs };
    this.slowReaders = new SlowReaders({ clock, timeouts });
    this.invocations = new InvocationService({
      history,
      recorder: this.#recorder,
      functions: { withImage: async (fn) => fn, idOf: (id) => id },
      runner: { run: (one) => this.#run(one) },
      memory: this.bodyMemory,
      kept_bytes: keptBytes,
      secretsFor: () => ({ environment: {}, files: [] }),
      clock,
      log,
      metrics,
      events: new InvocationEvents(),
      tracing: NO_TRACING,
      elsewhere: undefined,
    });
    const server = () => this.#server;
    const { watch, unwatch } = watching(server, timeouts);
    const calls = {
      invocations: this.invocations,
      idempotentCalls: new IdempotentCalls({
        ledger,
        invocations: this.invocations,
        results: { wait: (id) => this.invocations.get(id) },
        kept_bytes: keptBytes,
        clock,
        log,
      }),
      submissions: { take: async () => undefined },
      readBody: createBodyReader({ clock, unwatch, stall_ms: stallMs }),
      beginUpload: createUploads({ clock, unwatch, stall_ms: stallMs }),
      bodyMemory: this.bodyMemory,
      freshness: new Freshness(null),
      requestId: () => clock.uuid(),
      clock,
      slowReaders: this.slowReaders,
      server,
      clientAddress: () => "127.0.0.1",
      clientUsesTls: () => false,
      request_bytes: requestBytes,
    };
    this.#server = Bun.serve({
      port: 0,
      idleTimeout: 255,
      development: false,
      // As Elysia does it: what a socket does is in its data.
      websocket: {
        open: (socket) => dataOf(socket).open(socket),
        message: (socket, message) => dataOf(socket).message(socket, message),
        drain: (socket) => dataOf(socket).drain(),
        close: (socket, code, reason) => dataOf(socket).close(socket, code, reason),
      },
      fetch: async (request) => {
        const id = clock.uuid();
        const target = { function: this.fn, route_id: null, key_id: null };
        const response = await call(calls, request, { id, target, path: PATH, may_read: true }).catch(
          (error: unknown) =>
            errorResponse(shownError(error, log, { request_id: id, method: request.method, path: "/" }), {
              request_id: id,
              accept: null,
            }),
        );
        watch(request);
        if (!response.headers.has("x-request-id")) response.headers.set("x-request-id", id);
        return response;
      },
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  /** The records so far, the newest first. */
  async records(): Promise<Invocation[]> {
    return (await this.invocations.list({ limit: 100 })).invocations;
  }

  /** The part of a call's bodies that is kept. */
  payload(id: string) {
    return this.#store.history.payload(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
    await this.invocations[Symbol.asyncDispose]();
    await this.#recorder[Symbol.asyncDispose]();
    this.slowReaders[Symbol.dispose]();
    this.bodyMemory[Symbol.dispose]();
    this.#store[Symbol.dispose]();
  }

  /** Runs a call as an instance does: an outcome at the head of the answer, and another one at the end. */
  async #run(one: Call): Promise<RunnerRun> {
    one.onTiming({ queue_ms: 0.01 });
    one.onTiming({ start_ms: 0.02, start: "cold" });
    const began = performance.now();
    const gone = Promise.withResolvers<"gone">();
    one.signal.addEventListener("abort", () => gone.resolve("gone"));
    if (one.signal.aborted) gone.resolve("gone");
    const answer = await Promise.race([this.behave(one), gone.promise]);
    const first_byte_ms = performance.now() - began;
    one.onTiming({ run_ms: performance.now() - began });
    if (answer === "gone") return over({ ...BARE_OUTCOME, status: "cancelled", reason: "cancelled" });
    const { status } = answer;
    const isFailure = status >= 500 || status === 408 || status === 429;
    const head: Outcome = {
      ...BARE_OUTCOME,
      boot_ms: 7,
      first_byte_ms,
      status: isFailure ? "failed" : "succeeded",
      reason: isFailure ? "function_failed" : null,
      message: isFailure ? `The function answered with status ${status}` : null,
      response: answer,
    };
    if (answer.body instanceof Uint8Array) return over({ ...head, response_bytes: answer.body.length });
    const ended = Promise.withResolvers<Outcome>();
    const body = told(answer.body, one.signal, (end) => ended.resolve({ ...head, cpu_ms: 3, ...end }));
    return { outcome: { ...head, response: { ...answer, body } }, over: ended.promise, ended: ended.promise, ...LEFT };
  }
}

type Socket = ServerWebSocket<unknown>;
interface SocketData {
  open(socket: Socket): void;
  message(socket: Socket, message: string | Buffer): void;
  drain(): void;
  close(socket: Socket, code: number, reason: string): void;
}

function dataOf({ data }: Socket): SocketData {
  return data as SocketData; // `callByWebSocket` made it
}

const LEFT = { reusable: Promise.resolve(false), gone: () => Promise.resolve() };

function over(outcome: Outcome): RunnerRun {
  const ended = Promise.resolve(outcome);
  return { outcome, over: ended, ended, ...LEFT };
}

/** Returns the same stream, cut when the signal aborts; `onEnd` is told how it ended. */
function told(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
  onEnd: (end: Partial<Outcome>) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const cut = Promise.withResolvers<never>();
  cut.promise.catch(() => undefined);
  const end = { status: "cancelled", reason: "cancelled", message: "The client went away" } as const;
  signal.addEventListener("abort", () => {
    onEnd(end);
    cut.reject(new Error("cut"));
    void reader.cancel().catch(() => undefined);
  });
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        try {
          const piece = await Promise.race([reader.read(), cut.promise]);
          if (!piece.done) return controller.enqueue(piece.value);
          onEnd({});
          controller.close();
        } catch (error) {
          onEnd({ status: "failed", reason: "instance_lost", message: "The function's container ended" });
          throw error;
        }
      },
      cancel: async () => {
        onEnd(end);
        await reader.cancel();
      },
    },
    { highWaterMark: 0 },
  );
}

/** An answer that has come. */
export function bytes(text: string, status = 200, headers: FunctionResponse["headers"] = []): FunctionResponse {
  return { status, headers, body: Buffer.from(text) };
}

/** An answer that comes in pieces, each when a test sends it. */
export class Pieces {
  readonly #coming: (Uint8Array | "end" | "fail")[] = [];
  #wake: () => void = () => undefined;
  readonly left = Promise.withResolvers<void>();
  readonly body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        while (this.#coming.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
        const next = this.#coming.shift();
        if (next === "fail") throw new Error("the function is gone");
        if (next === "end" || next === undefined) controller.close();
        else controller.enqueue(next);
      },
      cancel: () => this.left.resolve(),
    },
    { highWaterMark: 0 },
  );

  send(text: string): void {
    this.sendBytes(Buffer.from(text));
  }

  sendBytes(bytes: Uint8Array): void {
    this.#push(bytes);
  }

  end(): void {
    this.#push("end");
  }

  fail(): void {
    this.#push("fail");
  }

  #push(one: Uint8Array | "end" | "fail"): void {
    this.#coming.push(one);
    this.#wake();
  }
}

/** Reads a body piece by piece, as text. */
export async function* textsOf(body: MessageBody | null): AsyncGenerator<string> {
  if (body === null) return;
  if (body instanceof Uint8Array) yield Buffer.from(body).toString();
  else for await (const piece of body) yield Buffer.from(piece).toString();
}
