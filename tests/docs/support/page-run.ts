import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { foreignOwners } from "../../support/leaks.ts";
import { freePort } from "../../support/ports/free-port.ts";
import { startRegistry, type Registry } from "../../support/registry/registry.ts";
import { Receiver } from "../../support/receiver.ts";
import { checkFile } from "./config-files.ts";
import { type Block, blocksOf, commandsOf, readPage, ROOT } from "./markdown-blocks.ts";
import { type Ended, Shell, StayingCommand, writePrograms, writeRelease } from "./shell.ts";
import { firstDifference, Values } from "./shown-output.ts";

/** The accepted reasons for not running a block. */
export const NOT_RUN = [
  "it needs systemd",
  "it needs Podman",
  "it needs a second machine",
  "it takes many minutes",
  "it needs perf",
  "it runs these very tests",
  "tests/docs/firewall.test.ts does",
  "tests/docs/typed-client.test.ts does",
  "tests/release/install.test.ts does",
  "it needs a release on GitHub",
  "tests/e2e/aws/clients.test.ts does",
  "tests/e2e/postgres/servers.test.ts does",
  "tests/e2e/postgres/move.test.ts does",
  "tests/e2e/postgres/kubernetes.test.ts does",
  "tests/e2e/postgres/swarm.test.ts does",
  "tests/e2e/packaging/container.test.ts does",
  "tests/e2e/packaging/binary.test.ts does",
] as const;

/** The files of a clone that pages need in their directory. */
const CLONE = ["functions", "docker-compose.yml", "package.json", "bun.lock", "bunfig.toml", ".ci", "node_modules"];

/** Matches an answer that says to try again later. */
const AWAY = /"reason": ?"engine_unavailable"|"ready": ?false/;
const ATTEMPTS = 20;

/** The user of the registry that pages call registry.example.com:5000. */
const CREDENTIALS = { username: "deploy-bot", password: "correct horse" };

/**
 * A page with everything that it needs: a directory, a shell, a server on a port and a database of its own, and, if the
 * page mentions them, a registry and a receiver of callbacks. Names in commands are replaced by those of this run, and
 * back in output.
 */
export class PageRun implements AsyncDisposable {
  readonly #held = new AsyncDisposableStack();
  readonly #values = new Values();
  readonly #names: (readonly [shown: string, actual: string])[] = [];
  readonly #engine: Engine;
  /** Owners of containers that were there before. */
  readonly #foreign: ReadonlySet<string>;
  readonly #directory: string;
  readonly #workingDirectory: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #shell: Shell;
  #server: StayingCommand | undefined;
  #receiver: Receiver | undefined;

  private constructor(directory: string, inClone: boolean, engine: Engine, foreign: ReadonlySet<string>) {
    const port = freePort();
    const publicPort = freePort();
    this.#directory = directory;
    this.#engine = engine;
    this.#foreign = foreign;
    this.#workingDirectory = inClone ? ROOT : directory;
    this.#environment = {
      PATH: `${directory}/bin:${process.env["PATH"] ?? ""}`,
      HOME: directory,
      DOCKER_HOST: engine.host,
      DOCKER_BUILDKIT: "0",
      PORT: String(port),
      DATA_PATH: `${directory}/data`,
      LOG_FORMAT: "text",
      CALLBACK_ALLOW: "127.0.0.1",
    };
    this.#shell = this.#held.use(new Shell(this.#workingDirectory, this.#environment));
    for (const before of ["localhost:", "127.0.0.1:"]) {
      this.#names.push([`${before}9999`, `${before}${port}`], [`${before}9998`, `${before}${publicPort}`]);
    }
    this.#names.push(["PUBLIC_PORT=9998", `PUBLIC_PORT=${publicPort}`]);
    for (const path of ["/var/lib/slipway", "/etc/slipway", "/usr/local/bin"]) {
      this.#names.push([path, `${directory}${path}`]);
    }
  }

  /** Prepares a page and runs all of it; throws at the first thing that is not as the page says. */
  static async run(page: string): Promise<void> {
    const markdown = await readPage(page);
    const directory = await mkdtemp(join(tmpdir(), "slipway-page-"));
    await Bun.write(`${directory}/.curlrc`, "silent\nshow-error\n");
    await writePrograms(`${directory}/bin`);
    for (const path of ["data", "var/lib/slipway", "etc/slipway", "usr/local/bin"]) {
      await Bun.write(`${directory}/${path}/.keep`, "");
    }
    for (const path of CLONE) await symlink(join(ROOT, path), join(directory, path));
    await writeRelease(directory);
    const inClone = markdown.includes("<!-- directory: a clone -->");
    await using run = new PageRun(directory, inClone, await acquireEngine(), await foreignOwners());
    await run.#provide(markdown);
    for (const block of blocksOf(page, markdown)) await run.#check(block);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.#held.disposeAsync();
    await this.#removeCreated();
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Removes containers that the engine was creating when the server stopped. The server's next start would remove them. */
  async #removeCreated(): Promise<void> {
    const format = '{{.ID}} {{.Label "slipway.owner"}}';
    const filters = ["--filter", "label=slipway.owner", "--filter", "status=created"];
    const listed = await this.#engine.docker("ps", "--all", ...filters, "--format", format);
    for (const line of listed.trim().split("\n")) {
      const [id = "", owner = ""] = line.split(" ");
      if (id !== "" && !this.#foreign.has(owner)) await this.#engine.docker("rm", "--force", "--volumes", id);
    }
  }

  /** Starts the servers that the page mentions. */
  async #provide(markdown: string): Promise<void> {
    if (markdown.includes("registry.example.com:5000")) {
      const registry: Registry = this.#held.use(await startRegistry(CREDENTIALS));
      await registry.push("slipway/hello-world:latest", "team/app:1");
      this.#names.push(["registry.example.com:5000", registry.host]);
    }
    if (markdown.includes("https://hooks.example.com")) {
      this.#receiver = this.#held.use(await Receiver.start());
      this.#names.push(["https://hooks.example.com", `http://127.0.0.1:${this.#receiver.port}`]);
    }
    if (markdown.includes("<!-- directory: a clone -->")) return;
    await this.#start("slipway serve", "listening", "the server");
  }

  async #check(block: Block): Promise<void> {
    const { directive, place, text, language } = block;
    const value = directive?.value ?? "";
    switch (directive?.name) {
      case "not run":
        if (!NOT_RUN.some((reason) => reason === value)) throw new Error(`${place}: "${value}" is not a reason`);
        return;
      case "file":
        await Bun.write(join(this.#directory, value), `${this.#actual(text)}\n`);
        return;
      case "checked":
        return checkFile(value, text);
      case "proxy":
        // tests/docs/proxies.test.ts runs it.
        return;
      case "received":
        return this.#compareReceived(place, text);
      case "stays":
        return this.#stay(block);
      case undefined:
        break;
      default:
        throw new Error(`${place}: nobody knows what "${directive?.name}" means`);
    }
    if (language === "text") return;
    if (language === "sh") return this.#runScript(place, text);
    if (language !== "console") throw new Error(`${place}: a block of "${language}" must say how it is checked`);
    for (const { command, output } of commandsOf(block)) await this.#compare(place, command, output);
  }

  /** Runs a command that must print the shown output. It exits with 0 unless it says "exit code N" in a comment. */
  async #compare(place: string, command: string, shown: string): Promise<void> {
    const { output, code } = await this.#runPatiently(command, shown);
    const expected = Number(/# exit code (\d+)/.exec(command)?.[1] ?? 0);
    const printed = this.#shown(output);
    const difference = firstDifference(shown, printed, this.#values);
    if (difference === undefined && code === expected) return;
    const wrong = difference === undefined ? `it exits with ${code}` : `it does not print\n${difference}`;
    throw new Error(`${place}: $ ${command}\n${wrong}\nbut (exit code ${code})\n${printed}`);
  }

  /** Tries again if the server says that the engine is away, as it may be for a moment on a busy machine. */
  async #runPatiently(command: string, shown: string): Promise<Ended> {
    for (let attempt = 1; ; attempt++) {
      const ended = await this.#shell.run(this.#actual(command));
      if (attempt === ATTEMPTS || AWAY.test(shown) || !AWAY.test(ended.output)) return ended;
      await Bun.sleep(1000);
    }
  }

  async #runScript(place: string, text: string): Promise<void> {
    const { output, code } = await this.#shell.run(`( set -e\n${this.#actual(text)}\n)`);
    if (code !== 0) throw new Error(`${place}: it exits with ${code}:\n${this.#shown(output)}`);
  }

  async #stay(block: Block): Promise<void> {
    // Its output may look like further commands.
    const [first = "", ...printed] = block.text.split("\n");
    if (!first.startsWith("$ ")) throw new Error(`${block.place}: it begins with the command that stays`);
    await this.#start(first.slice(2), printed.join("\n"), block.place);
  }

  /** Starts a server in place of the one that runs. */
  async #start(command: string, shown: string, place: string): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = new StayingCommand(this.#actual(command), this.#workingDirectory, this.#environment);
    let difference: string | undefined;
    const complete = (output: string): boolean => {
      difference = firstDifference(`…${shown}`, this.#shown(output), this.#values, true);
      return difference === undefined;
    };
    try {
      await this.#server.printed(complete);
    } catch (error) {
      throw new Error(`${place}: it does not print\n${difference}`, { cause: error });
    }
  }

  /** The last callback as `name: value` lines, an empty line and the body. */
  async #compareReceived(place: string, shown: string): Promise<void> {
    const callback = await this.#receiver?.get(1);
    if (callback === undefined) throw new Error(`${place}: the page has no URL at hooks.example.com`);
    const headers = Object.entries(callback.headers).filter(([name]) => name.startsWith("webhook-"));
    const lines = headers.map(([name, value]) => `${name}: ${String(value)}`).toSorted();
    const received = `${lines.join("\n")}\n\n${callback.body}`;
    const difference = firstDifference(shown, received, this.#values);
    if (difference !== undefined) throw new Error(`${place}: not received:\n${difference}\nbut\n${received}`);
  }

  /** Returns a text of the page with the names and values of this run. */
  #actual(text: string): string {
    return this.#names.reduce((all, [shown, actual]) => all.replaceAll(shown, actual), this.#values.inserted(text));
  }

  /** Returns a text of this run with the page's names. */
  #shown(text: string): string {
    return this.#names.reduce((all, [shown, actual]) => all.replaceAll(actual, shown), text);
  }
}
