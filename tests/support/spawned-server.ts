import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../lib/domain/functions/functions.ts";
import { acquireEngine } from "../../.ci/engine/engine.ts";
import { requireProgram } from "../../.ci/packages.ts";
import { eventually } from "./pace.ts";
import { SLIPWAY } from "./program.ts";

/** A line of the server's log. */
type LogLine = Readonly<Record<string, unknown>>;

/**
 * A server in a process of its own, which can be killed and stopped by signals. It dies with the tests. A given data
 * directory stays for the next start; otherwise the server has one of its own, which is removed with it.
 */
export class SpawnedServer implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"ignore", "ignore", "pipe">;
  readonly #ownsDirectory: boolean;
  readonly #lines: LogLine[] = [];
  readonly #watchers = new Set<(line: LogLine) => void>();
  readonly #read: Promise<void>;
  readonly dataPath: string;
  #url = "";

  private constructor(
    directory: string,
    ownsDirectory: boolean,
    variables: Readonly<Record<string, string>>,
    wrapper: readonly string[],
  ) {
    this.dataPath = directory;
    this.#ownsDirectory = ownsDirectory;
    const command = [requireProgram("setpriv"), "--pdeathsig", "KILL", ...wrapper, ...SLIPWAY, "serve"];
    this.#child = Bun.spawn(command, {
      cwd: directory,
      env: {
        PATH: process.env["PATH"] ?? "",
        PORT: "0",
        LOG_FORMAT: "json",
        WARM_MAX: "0",
        ...variables,
        DATA_PATH: directory,
      },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    this.#read = this.#readLog();
  }

  /**
   * Starts a server and waits until it listens; `variables` are its whole environment besides PATH. `wrapper` is a command
   * that goes on as the one of its last arguments, such as `taskset -c 0`.
   */
  static async start(
    variables: Readonly<Record<string, string>> = {},
    wrapper: readonly string[] = [],
  ): Promise<SpawnedServer> {
    const given = variables["DATA_PATH"];
    const directory = given ?? (await mkdtemp(join(tmpdir(), "slipway-spawned-")));
    const docker = variables["DOCKER_HOST"] ?? (await acquireEngine()).host;
    const server = new SpawnedServer(directory, given === undefined, { ...variables, DOCKER_HOST: docker }, wrapper);
    const { url } = await server.logged("listening");
    server.#url = String(url);
    // As TestServer does.
    if (variables["DOCKER_HOST"] === undefined && variables["LOG_LEVEL"] === undefined)
      await eventually(() => server.log.some(({ event }) => event === "engine connected"));
    return server;
  }

  get url(): string {
    return this.#url;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get log(): readonly LogLine[] {
    return this.#lines;
  }

  /** Resolves with the exit code: 128 plus the number of a signal that ended it. */
  get exited(): Promise<number> {
    return this.#child.exited;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Returns the first log line of this event, past or future; rejects if the server ends without one. */
  async logged(event: string): Promise<LogLine> {
    const { promise, resolve, reject } = Promise.withResolvers<LogLine>();
    const look = (line: LogLine) => line["event"] === event && resolve(line);
    this.#lines.forEach(look);
    this.#watchers.add(look);
    void this.#read.then(() => reject(new Error(`The server ended: ${JSON.stringify(this.#lines.slice(-5))}`)));
    return promise.finally(() => this.#watchers.delete(look));
  }

  /** Registers an image and returns the function; anything but 201 throws. */
  async createFunction(image: string, settings: Partial<Function> = {}): Promise<Function> {
    const response = await fetch(`${this.url}/v1/functions`, {
      method: "POST",
      body: JSON.stringify({ image, ...settings }),
    });
    const body: unknown = await response.json();
    if (response.status !== 201) throw new Error(`POST /v1/functions: ${response.status} ${JSON.stringify(body)}`);
    return (body as { data: Function }).data; // what the API promises
  }

  /** Deletes a function; anything but 200 throws. */
  async deleteFunction(id: string): Promise<void> {
    const response = await fetch(`${this.url}/v1/functions/${id}`, { method: "DELETE" });
    if (response.status !== 200) throw new Error(`DELETE of a function: ${response.status} ${await response.text()}`);
  }

  /** Calls a function. */
  invoke(fn: Pick<Function, "id">, body: object, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.url}/v1/functions/${fn.id}/invoke`, { method: "POST", body: JSON.stringify(body), ...init });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await this.#read;
    if (this.#ownsDirectory) await rm(this.dataPath, { recursive: true, force: true });
  }

  async #readLog(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#child.stderr) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const text of lines) this.#take(text);
    }
    if (rest !== "") this.#take(rest);
  }

  #take(text: string): void {
    const parsed: unknown = text.startsWith("{") ? JSON.parse(text) : { event: text };
    const line = parsed as LogLine; // the logger writes objects
    this.#lines.push(line);
    for (const watch of this.#watchers) watch(line);
  }
}
