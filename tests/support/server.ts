import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import { readConfig, thisMachine } from "../../lib/config/config.ts";
import type { ChangedFunction, Function } from "../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationLogs } from "../../lib/domain/calls/invocations.ts";
import type { Route } from "../../lib/domain/routes/routes.ts";
import { createLogger } from "../../lib/log.ts";
import { type Server, start } from "../../lib/server/server.ts";
import { acquireEngine } from "../../.ci/engine/engine.ts";
import { ownedContainers } from "./leaks.ts";
import { PACE } from "./pace.ts";
import { eventually } from "./pace.ts";

/** An envelope as a client gets it. */
export interface Reply<T = unknown> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: {
    readonly success: boolean;
    readonly message: string;
    readonly data: T;
    readonly reason?: string;
    readonly request_id?: string;
  };
}

/** The engine's part of a machine that is emulated takes its time. */
const EMULATED: Readonly<Record<string, string>> = PACE > 1 ? { ENGINE_TIMEOUT_MS: "10m" } : {};

/** A server in this process, with its own port and database, on the engine of the tests. */
export class TestServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #directory: string;
  readonly #ownsDirectory: boolean;
  /** Its log: JSON lines. */
  readonly log: readonly string[];

  private constructor(server: Server, directory: string, ownsDirectory: boolean, log: readonly string[]) {
    this.#server = server;
    this.#directory = directory;
    this.#ownsDirectory = ownsDirectory;
    this.log = log;
  }

  /**
   * Starts a server with these environment variables. Without WARM_MAX it keeps no instances ready, so that a test knows
   * where containers come from.
   */
  static async start(variables: Readonly<Record<string, string>> = {}): Promise<TestServer> {
    const given = variables["DATA_PATH"];
    const directory = given ?? (await mkdtemp(join(tmpdir(), "slipway-test-")));
    const docker = variables["DOCKER_HOST"] ?? (await acquireEngine()).host;
    const config = readConfig(
      {},
      {
        PORT: "0",
        LOG_LEVEL: "debug",
        WARM_MAX: "0",
        ...EMULATED,
        ...variables,
        DATA_PATH: directory,
        DOCKER_HOST: docker,
      },
      thisMachine(),
    );
    const lines: string[] = [];
    const log = createLogger({
      level: config.logLevel,
      format: "json",
      clock: systemClock,
      write: (line) => void lines.push(line),
    });
    const server = await start(config, { log });
    const started = new TestServer(server, directory, given === undefined, lines);
    // A busy machine's engine may be late for the first ping; tests of engines that are away name theirs.
    if (variables["DOCKER_HOST"] === undefined && variables["LOG_LEVEL"] === undefined)
      await eventually(() => lines.some((line) => line.includes('"engine connected"')));
    return started;
  }

  get url(): string {
    return this.#server.url;
  }

  /** The URL of the public listener; empty without one. */
  get publicUrl(): string {
    return this.#server.public_url ?? "";
  }

  get dataPath(): string {
    return this.#directory;
  }

  get newKey(): string | undefined {
    return this.#server.new_key;
  }

  stop(graceMs: number): Promise<void> {
    return this.#server.stop(graceMs);
  }

  /** Sends a request to the API; a body that is not a string is sent as JSON. */
  async api<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply<T>> {
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    const response = await fetch(this.url + path, {
      method,
      headers,
      timeout: false,
      ...(text !== undefined && { body: text }),
    });
    const reply: unknown = await response.json();
    // Tests check the body themselves.
    return { status: response.status, headers: response.headers, body: reply as Reply<T>["body"] };
  }

  /**
   * Registers an image and returns the function; anything but 201 throws. It has no network, which is half of the
   * processor time of a container, unless the settings name or share one.
   */
  async createFunction(image: string, settings: Partial<Function> = {}): Promise<ChangedFunction> {
    const given = { image, ...(settings.share_network !== true && { network: "none" }), ...settings };
    const { status, body } = await this.api<ChangedFunction>("POST", "/v1/functions", given);
    if (status !== 201) throw new Error(`POST /v1/functions: ${status} ${JSON.stringify(body)}`);
    return body.data;
  }

  async createRoute(path: string, functionId: string): Promise<Route> {
    const { status, body } = await this.api<Route>("POST", "/v1/routes", { path, function_id: functionId });
    if (status !== 200) throw new Error(`POST /v1/routes: ${status} ${JSON.stringify(body)}`);
    return body.data;
  }

  /** Calls a function; an object is sent as JSON. */
  invoke(fn: Pick<Function, "id">, body: Bun.BodyInit | object = "", init: RequestInit = {}): Promise<Response> {
    const sent = isBodyInit(body) ? body : JSON.stringify(body);
    // A call on an emulated machine may take longer than the 5 min that Bun waits by default.
    return fetch(`${this.url}/v1/functions/${fn.id}/invoke`, { method: "POST", body: sent, timeout: false, ...init });
  }

  async invocation(id: string): Promise<Invocation> {
    return (await this.api<Invocation>("GET", `/v1/invocations/${id}`)).body.data;
  }

  /** Returns the final record of a call that was answered: it comes a moment after the last byte of an answer that streams. */
  async ended(id: string): Promise<Invocation> {
    let record = await this.invocation(id);
    await eventually(async () => (record = await this.invocation(id)).finished_at !== null);
    return record;
  }

  async logs(id: string): Promise<InvocationLogs> {
    return (await this.api<InvocationLogs>("GET", `/v1/invocations/${id}/logs`)).body.data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    if (this.#ownsDirectory) await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Waits until the engine has none of our containers; returns the names of those that are left. */
export async function containersLeft(limitMs?: number): Promise<readonly string[]> {
  const { client } = await acquireEngine();
  let left: readonly string[] = [];
  await eventually(async () => (left = await ownedContainers(client)).length === 0, limitMs);
  return left;
}

function isBodyInit(body: Bun.BodyInit | object): body is Bun.BodyInit {
  return typeof body === "string" || body instanceof Uint8Array || body instanceof ReadableStream;
}
