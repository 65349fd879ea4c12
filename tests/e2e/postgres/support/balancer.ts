import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireProgram, runOrThrow } from "../../../../.ci/packages.ts";
import { inRepository } from "../../../../.ci/steps.ts";
import { proxyProgram } from "../../../docs/support/proxy-programs.ts";
import { eventually } from "../../../support/pace.ts";
import { freePort } from "../../../support/ports/free-port.ts";

/** Longer than HAProxy takes to start, or to see that a server is ready. */
const LONG_MS = 60_000;

/** HAProxy with the manual's configuration, whose addresses are replaced by those of servers here. */
export class Balancer implements AsyncDisposable {
  readonly url: string;
  readonly #child: Bun.Subprocess;
  readonly #directory: string;

  private constructor(url: string, child: Bun.Subprocess, directory: string) {
    this.url = url;
    this.#child = child;
    this.#directory = directory;
  }

  /** Starts it in front of as many servers as the configuration has, or fewer, such as `127.0.0.1:9999`. */
  static async start(servers: readonly string[]): Promise<Balancer> {
    const { path, environment } = await proxyProgram("haproxy");
    const directory = await mkdtemp(join(tmpdir(), "slipway-haproxy-"));
    const page = await Bun.file(inRepository("lib/docs/deploy/haproxy.cfg")).text();
    const port = freePort();
    let replaced = 0;
    const lines = page.split("\n").flatMap((line) => {
      if (line === "    bind :80") return [`    bind 127.0.0.1:${port}`];
      const [, start, options] = /^( +server node-\d) \S+(.*)$/.exec(line) ?? [];
      if (start === undefined) return [line];
      const address = servers[replaced++];
      return address === undefined ? [] : [`${start} ${address}${options}`];
    });
    if (replaced !== 3 || !lines.includes(`    bind 127.0.0.1:${port}`))
      throw new Error("haproxy.cfg has not the lines that are replaced here");
    const file = join(directory, "haproxy.cfg");
    const socket = `global\n    stats socket ${directory}/socket\n`;
    await writeFile(file, `${socket}${lines.join("\n")}`);
    await runOrThrow(["env", ...variables(environment), path, "-c", "-f", file]);
    const command = [requireProgram("setpriv"), "--pdeathsig", "KILL", path, "-db", "-f", file];
    const child = Bun.spawn(command, { env: { ...process.env, ...environment }, stdout: "ignore", stderr: "ignore" });
    return new Balancer(`http://127.0.0.1:${port}`, child, directory);
  }

  /** Waits until it sends calls to a server, by its place from 1. */
  async sendsTo(place: number): Promise<void> {
    const isUp = async () => (await this.#statistics(place))["status"] === "UP";
    if (!(await eventually(isUp, LONG_MS))) throw new Error(`HAProxy does not see node-${place}`);
  }

  /** Waits until it leaves a server out. */
  async leavesOut(place: number): Promise<void> {
    const isDown = async () => (await this.#statistics(place))["status"] === "DOWN";
    if (!(await eventually(isDown, LONG_MS))) throw new Error(`HAProxy goes on with node-${place}`);
  }

  /** Returns the number of calls that a server has at the moment. */
  async callsAt(place: number): Promise<number> {
    return Number((await this.#statistics(place))["scur"] ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await rm(this.#directory, { recursive: true });
  }

  /** Returns its figures of a server; none before it has started. */
  async #statistics(place: number): Promise<Readonly<Record<string, string>>> {
    const [head = "", ...rows] = (await this.#ask("show stat")).split("\n");
    const values = rows.find((row) => row.startsWith(`slipway,node-${place},`))?.split(",") ?? [];
    const names = head.replace("# ", "").split(",");
    return Object.fromEntries(values.map((value, index) => [names[index] ?? "", value]));
  }

  /** Returns the answer of its socket to a command; nothing before it is there. */
  async #ask(command: string): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    let text = "";
    const handlers = {
      data: (_: unknown, data: Buffer) => void (text += data.toString()),
      close: () => resolve(text),
      error: () => resolve(""),
    };
    try {
      const socket = await Bun.connect({ unix: join(this.#directory, "socket"), socket: handlers });
      socket.write(`${command}\n`);
      return await promise;
    } catch {
      return "";
    }
  }
}

function variables(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).map(([name, value]) => `${name}=${value}`);
}
