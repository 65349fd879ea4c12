import type { IncomingMessage } from "node:http";
import type { Duplex, Readable } from "node:stream";
import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";
import type { EngineAddress } from "../../domain/engine-address.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Metrics } from "../../metrics.ts";
import { Modem } from "./modem.ts";

/** Thrown if the engine answers with a status of 400 or above. The requester knows what that means for its caller. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly operation: string;
  readonly status: number;

  constructor(operation: string, status: number, message: string) {
    super(message);
    this.operation = operation;
    this.status = status;
  }
}

/** Returns whether something thrown is the engine's answer with one of these statuses. */
export function isEngineStatus(thrown: unknown, ...statuses: readonly number[]): thrown is EngineError {
  return thrown instanceof EngineError && statuses.includes(thrown.status);
}

/** The newest API whose behaviour we know. Older engines are asked in their own version, newer ones in their oldest. */
const NEWEST_API = [1, 44] as const;
/** The longest reply: JSON about one thing, or a list of our own containers. More is a fault. */
const REPLY_BYTES = 16 * 1024 * 1024;

/** Accepts every status, as we judge it ourselves: docker-modem would turn a stream's error reply into text. */
const EVERY_STATUS: Record<number, boolean> = new Proxy({}, { get: () => true });

/** A request to the engine. */
export interface EngineRequest {
  /** The name of the request in metrics and messages, such as `container create`. */
  readonly operation: string;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** The path below the version, with every id encoded and none empty. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly body?: object;
  /** A tar archive; only with `PUT`. */
  readonly archive?: Buffer;
  /** A tar archive of any size, which is read as the engine takes it; only with `POST`. An error of it ends the request. */
  readonly upload?: Readable;
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds until the reply must be complete; the connection's own timeout unless given. */
  readonly timeout_ms?: number;
  readonly signal?: AbortSignal;
}

/** A reply with its headers and its body: parsed if it is JSON, else text. */
export interface EngineReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: unknown;
}

interface EngineConnectionDeps {
  readonly address: EngineAddress;
  /** The deadline of a request that has none of its own. */
  readonly timeout_ms: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/**
 * Sends requests to the Docker Engine API. Each has a deadline. A connection that fails or does not answer in time throws
 * `engine_unavailable`, a status of 400 or above throws `EngineError`. Disposing of it ends everything that is under way.
 */
export class EngineConnection implements Disposable {
  readonly #deps: EngineConnectionDeps;
  readonly #closed = new AbortController();
  readonly #modem: Modem;
  #version: string | undefined;
  #isPodman = false;

  constructor(deps: EngineConnectionDeps) {
    this.#deps = deps;
    this.#modem = new Modem(deps.address);
  }

  /** True if the engine that answers is Podman; false before any has answered. */
  get isPodman(): boolean {
    return this.#isPodman;
  }

  /** Asks the engine which API it speaks and remembers the version for all later requests. */
  async negotiate(timeoutMs = this.#deps.timeout_ms, signal?: AbortSignal): Promise<void> {
    const limits = { timeout_ms: timeoutMs, ...(signal === undefined ? {} : { signal }) };
    const ping = await this.#request({ operation: "ping", method: "GET", path: "/_ping", ...limits });
    const offered = parseVersion(ping.headers["api-version"]);
    if (offered === undefined) throw unavailable("ping", "what answers there is no Docker Engine");
    this.#isPodman = ping.headers["libpod-api-version"] !== undefined;
    let version = olderOf(offered, NEWEST_API);
    if (version === NEWEST_API) {
      const about = await this.#request({
        operation: "version",
        method: "GET",
        path: "/version",
        ...limits,
      });
      const oldest = parseVersion(field(about.body, "MinAPIVersion"));
      if (oldest !== undefined && olderOf(oldest, version) === version) version = oldest;
    }
    this.#version = `/v${version[0]}.${version[1]}`;
  }

  /** Asks whether the engine is alive. */
  async ping(timeoutMs: number): Promise<void> {
    await this.#request({ operation: "ping", method: "GET", path: "/_ping", timeout_ms: timeoutMs });
  }

  /** Sends a request and reads the whole reply. */
  async request(request: EngineRequest): Promise<EngineReply> {
    return this.#request({ ...request, path: (await this.#prefix()) + request.path });
  }

  /** Sends a request whose reply is not text, and returns the bytes of its body. */
  async bytes(request: EngineRequest, limitBytes: number): Promise<Buffer> {
    const { body } = await this.#exchange({ ...request, path: (await this.#prefix()) + request.path }, limitBytes);
    return body;
  }

  /** Sends a request whose reply is an endless stream; `timeout_ms` counts until its head has arrived. */
  async stream(request: EngineRequest): Promise<IncomingMessage> {
    return this.#measured(request, async () => {
      const abort = new AbortController();
      const cancel = this.#deadline(abort, request);
      try {
        const reply = await this.#dial(
          { ...request, path: (await this.#prefix()) + request.path },
          abort.signal,
          false,
        );
        if (!isReply(reply)) throw unavailable(request.operation, "it sent no reply");
        if (statusOf(reply) >= 400) throw await refusal(request.operation, reply);
        this.#closeWithUs(reply);
        return reply;
      } catch (error) {
        throw explain(request.operation, error);
      } finally {
        cancel();
      }
    });
  }

  /** Opens the two-way stream of a container's stdin and stdout. */
  attach(containerId: string): Promise<Duplex> {
    return this.hijack({
      operation: "container attach",
      method: "POST",
      path: `/containers/${encodeURIComponent(containerId)}/attach`,
      query: { stream: 1, stdin: 1, stdout: 1, stderr: 1 },
    });
  }

  /** Sends a request that makes its connection a two-way stream; `Upgrade` in its headers names another protocol than `tcp`. */
  async hijack(request: EngineRequest): Promise<Duplex> {
    return this.#measured(request, async () => {
      const abort = new AbortController();
      const cancel = this.#deadline(abort, request);
      try {
        const reply = await this.#dial({ ...request, path: (await this.#prefix()) + request.path }, abort.signal, true);
        if (isReply(reply)) throw await refusal(request.operation, reply);
        return reply;
      } catch (error) {
        throw explain(request.operation, error);
      } finally {
        cancel();
      }
    });
  }

  async #prefix(): Promise<string> {
    if (this.#version === undefined) await this.negotiate();
    return this.#version ?? "";
  }

  async #request(request: EngineRequest): Promise<EngineReply> {
    const { status, headers, body } = await this.#exchange(request, REPLY_BYTES);
    return { status, headers, body: parseBody(body.toString()) };
  }

  async #exchange(
    request: EngineRequest,
    limitBytes: number,
  ): Promise<Omit<EngineReply, "body"> & { readonly body: Buffer }> {
    return this.#measured(request, async () => {
      const abort = new AbortController();
      const cancel = this.#deadline(abort, request);
      try {
        const reply = await this.#dial(request, abort.signal, false);
        if (!isReply(reply)) throw unavailable(request.operation, "it sent no reply");
        const body = await collect(reply, abort.signal, limitBytes);
        const status = statusOf(reply);
        if (status >= 400) throw new EngineError(request.operation, status, errorText(parseBody(body.toString())));
        return { status, headers: reply.headers, body };
      } catch (error) {
        throw explain(request.operation, error);
      } finally {
        cancel();
      }
    });
  }

  /** Ends everything that is under way; the callers that wait for it get an error. */
  [Symbol.dispose](): void {
    this.#closed.abort(stopping());
  }

  #closeWithUs(reply: IncomingMessage): void {
    const stopListening = onAbort(this.#closed.signal, () => reply.destroy(stopping()));
    reply.on("close", stopListening);
  }

  /** Aborts at the deadline, with the caller's signal, or when we are disposed of. The returned function stops that. */
  #deadline(abort: AbortController, request: EngineRequest): () => void {
    const timeoutMs = request.timeout_ms ?? this.#deps.timeout_ms;
    const cancelTimer = this.#deps.clock.after(timeoutMs, () =>
      abort.abort(new Error(`it did not answer within ${timeoutMs} ms`)),
    );
    const signals = [this.#closed.signal, ...(request.signal ? [request.signal] : [])];
    const stops = signals.map((signal) => onAbort(signal, () => abort.abort(signal.reason)));
    return () => {
      cancelTimer();
      for (const stop of stops) stop();
    };
  }

  async #dial(request: EngineRequest, signal: AbortSignal, hijack: boolean): Promise<IncomingMessage | Duplex> {
    const modem = await this.#modem.now();
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage | Duplex>();
    // docker-modem never calls back if the engine dies before the head of a reply: only the signal ends the wait.
    const stopListening = onAbort(signal, () => reject(signal.reason));
    modem.dial(
      {
        // The question mark makes docker-modem send `_query` as the query and `_body` as the body.
        path: `${request.path}?`,
        method: request.method,
        ...(request.headers && { headers: { ...request.headers } }),
        options: { _query: request.query ?? {}, _body: request.body ?? {} },
        ...(request.archive && { file: request.archive, headers: { "Content-Type": "application/x-tar" } }),
        ...(request.upload && { file: request.upload }),
        // Without a body docker-modem would send an empty chunked one, and podman passes its last chunk to the container.
        ...(hijack && { file: Buffer.alloc(0) }),
        isStream: true,
        hijack,
        statusCodes: EVERY_STATUS,
        abortSignal: signal,
      },
      (error, reply) => {
        stopListening();
        if (error) reject(error);
        else if (signal.aborted) discard(reply);
        else if (isDuplexOrReply(reply)) resolve(reply);
        else reject(new Error("docker-modem gave no stream"));
      },
    );
    return promise;
  }

  async #measured<T>(request: EngineRequest, run: () => Promise<T>): Promise<T> {
    const { operation } = request;
    const started = this.#deps.clock.monotonic();
    this.#deps.metrics.engineCalls.inc({ operation });
    try {
      return await run();
    } catch (error) {
      this.#deps.metrics.engineErrors.inc({ operation });
      throw error;
    } finally {
      this.#deps.metrics.engineSeconds.observe({ operation }, (this.#deps.clock.monotonic() - started) / 1000);
    }
  }
}

/** Returns whether this is the head of an answer, and not the two-way stream that an attach opens. */
function isReply(reply: IncomingMessage | Duplex): reply is IncomingMessage {
  return "statusCode" in reply;
}

function isDuplexOrReply(reply: unknown): reply is IncomingMessage | Duplex {
  return reply !== null && typeof reply === "object" && "on" in reply;
}

function discard(reply: unknown): void {
  if (isDuplexOrReply(reply)) reply.destroy();
}

function statusOf(reply: IncomingMessage): number {
  return reply.statusCode ?? 0;
}

/** Reads a reply to its end. Rejects if the engine goes away in the middle, which `end` alone would not show. */
function collect(reply: IncomingMessage, signal: AbortSignal, limitBytes: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const fail = (error: unknown) => {
    reject(error);
    reply.destroy();
  };
  const stopListening = onAbort(signal, () => fail(signal.reason));
  reply.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > limitBytes) fail(new Error(`its reply is over ${limitBytes} bytes`));
    else chunks.push(chunk);
  });
  reply.on("end", () => resolve(Buffer.concat(chunks)));
  reply.on("aborted", () => fail(new Error("the connection was cut in the middle of a reply")));
  reply.on("error", fail);
  reply.on("close", () => reject(new Error("the connection was closed in the middle of a reply")));
  return promise.finally(stopListening);
}

async function refusal(operation: string, reply: IncomingMessage): Promise<EngineError> {
  const body = await collect(reply, AbortSignal.timeout(5_000), REPLY_BYTES);
  return new EngineError(operation, statusOf(reply), errorText(parseBody(body.toString())));
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function errorText(body: unknown): string {
  const message = field(body, "message");
  return (message ?? (typeof body === "string" ? body : "")).trim() || "no reason given";
}

function field(body: unknown, name: string): string | undefined {
  if (body === null || typeof body !== "object") return undefined;
  const value: unknown = Object.getOwnPropertyDescriptor(body, name)?.value;
  return typeof value === "string" ? value : undefined;
}

function unavailable(operation: string, why: string, cause?: unknown): AppError {
  return new AppError(
    "engine_unavailable",
    `The Docker Engine cannot be reached (${operation}): ${why}. Start it, or point DOCKER_HOST at it.`,
    {
      cause,
      retry_after_s: 2,
    },
  );
}

function explain(operation: string, error: unknown): unknown {
  if (error instanceof AppError || error instanceof EngineError) return error;
  return unavailable(operation, causeOf(error), error);
}

/** Returns the cause of an error without the socket's path, which is the host's business: the code says enough. */
function causeOf(error: unknown): string {
  const code = error !== null && typeof error === "object" && "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "FailedToOpenSocket") return "its socket does not exist";
  if (code === "ECONNREFUSED") return "nothing listens there";
  if (code === "EACCES" || code === "EPERM") return "permission denied on its socket (join the socket's group)";
  if (typeof code === "string") return `the connection failed (${code})`;
  return messageOf(error);
}

type Version = readonly [number, number];

function parseVersion(text: unknown): Version | undefined {
  const match = typeof text === "string" ? /^(\d+)\.(\d+)$/.exec(text) : null;
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}

function olderOf(a: Version, b: Version): Version {
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]) ? a : b;
}

function stopping(): Error {
  return new Error("the server is stopping");
}
