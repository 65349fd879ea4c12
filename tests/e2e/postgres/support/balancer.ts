import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireProgram, runOrThrow } from "../../../../.ci/packages.ts";
import { inRepository } from "../../../../.ci/steps.ts";
import { proxyProgram } from "../../../docs/support/proxy-programs.ts";
import { eventually } from "../../../support/pace.ts";

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

  static async start(ports: readonly number[]): Promise<Balancer> {
    const { path, environment } = await proxyProgram("haproxy");
    const directory = await mkdtemp(join(tmpdir(), "slipway-haproxy-"));
    const page = await Bun.file(inRepository("lib/docs/deploy/haproxy.cfg")).text();
    const port = freePort();
    const lines = page.replace("bind :80\n", `bind 127.0.0.1:${port}\n`).split("\n");
    const others = lines.filter((line) => !/^ +server /.test(line));
    if (lines.length - others.length !== 3 || !others.includes(`    bind 127.0.0.1:${port}`))
      throw new Error("haproxy.cfg has not the lines that are replaced here");
    const servers = ports.map((one, index) => `    server node-${index + 1} 127.0.0.1:${one}`);
    const file = join(directory, "haproxy.cfg");
    const socket = `global\n    stats socket ${directory}/socket\n`;
    await writeFile(file, `${socket}${others.join("\n")}${servers.join("\n")}\n`);
    await runOrThrow(["env", ...variables(environment), path, "-c", "-f", file]);
    const command = [requireProgram("setpriv"), "--pdeathsig", "KILL", path, "-db", "-f", file];
    const child = Bun.spawn(command, { env: { ...process.env, ...environment }, stdout: "ignore", stderr: "ignore" });
    return new Balancer(`http://127.0.0.1:${port}`, child, directory);
  }

  /** Waits until it sends calls to a server, by its place from 1. */
  async sendsTo(place: number): Promise<void> {
    const isUp = async () => new RegExp(`^slipway,node-${place},.*,UP,`, "m").test(await this.#ask("show stat"));
    if (!(await eventually(isUp, LONG_MS))) throw new Error(`HAProxy does not see node-${place}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await rm(this.#directory, { recursive: true });
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

/** Returns a port that nothing listens on. */
export function freePort(): number {
  const probe = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  const { port = 0 } = probe;
  void probe.stop(true);
  return port;
}

function variables(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).map(([name, value]) => `${name}=${value}`);
}
