import { chmod } from "node:fs/promises";
import { requireProgram } from "../../../.ci/packages.ts";
import { SLIPWAY } from "../../support/program.ts";

/** The longest that a command of a page may take; those that stay have as long to print the shown output. */
const COMMAND_TIMEOUT_MS = 120_000;

export interface Ended {
  readonly output: string;
  readonly code: number;
}

/** A bash of a page: variables that one command sets are there for the next. It dies with the tests. */
export class Shell implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "ignore">;
  readonly #output: Output;

  constructor(directory: string, environment: Readonly<Record<string, string>>) {
    this.#child = Bun.spawn([...tied(), "bash", "--noprofile", "--norc"], {
      cwd: directory,
      env: environment,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "ignore",
    });
    this.#output = new Output(this.#child.stdout);
  }

  /** Runs one command or several lines; returns everything that they print, including to standard error. */
  async run(command: string): Promise<Ended> {
    const mark = `end-of-${crypto.randomUUID()}`;
    this.#output.clear();
    await this.#child.stdin.write(`{ ${command}\n} </dev/null 2>&1; printf '\\n%s %d\\n' ${mark} $?\n`);
    await this.#child.stdin.flush();
    const text = await this.#output.until((all) => new RegExp(`\\n${mark} \\d+\\n$`).test(all), command);
    const [output = "", code = ""] = text.split(`\n${mark} `);
    return { output, code: Number(code) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

/** A command that goes on until its scope is left: a server. */
export class StayingCommand implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"ignore", "pipe", "ignore">;
  readonly #output: Output;
  readonly #command: string;

  constructor(command: string, directory: string, environment: Readonly<Record<string, string>>) {
    this.#command = command;
    this.#child = Bun.spawn([...tied(), "bash", "--noprofile", "--norc", "-c", `exec 2>&1\n${lastOf(command)}`], {
      cwd: directory,
      env: environment,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
    });
    this.#output = new Output(this.#child.stdout);
  }

  /** Waits until its output is as expected; returns all of it so far. */
  printed(complete: (output: string) => boolean): Promise<string> {
    return this.#output.until(complete, this.#command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
  }
}

/** Makes the command replace its shell, so that signals reach it. */
function lastOf(command: string): string {
  const assignments = /^(?:[A-Z_]+=\S+ )*/.exec(command)?.[0] ?? "";
  return `${assignments === "" ? "" : `export ${assignments}\n`}exec ${command.slice(assignments.length)}`;
}

function tied(): readonly string[] {
  return [requireProgram("setpriv"), "--pdeathsig", "KILL"];
}

/** Collects the output of a process and waits for more. */
class Output {
  #text = "";
  #ended = false;
  #look: (() => void) | undefined;

  constructor(stream: ReadableStream<Uint8Array>) {
    void this.#read(stream);
  }

  clear(): void {
    this.#text = "";
  }

  async until(complete: (text: string) => boolean, command: string): Promise<string> {
    const deadline = Promise.withResolvers<"late">();
    const timer = setTimeout(() => deadline.resolve("late"), COMMAND_TIMEOUT_MS);
    try {
      for (;;) {
        if (complete(this.#text)) return this.#text;
        const more = Promise.withResolvers<"more">();
        this.#look = () => more.resolve("more");
        const why = this.#ended ? "ended" : await Promise.race([more.promise, deadline.promise]);
        if (why === "more" || complete(this.#text)) continue;
        throw new Error(
          `"${command}" ${why === "late" ? "takes too long" : "ended early"}; it printed:\n${this.#text}`,
        );
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      this.#text += decoder.decode(chunk, { stream: true });
      this.#look?.();
    }
    this.#ended = true;
    this.#look?.();
  }
}

/** Writes the programs `bun` and `slipway` of this clone to a directory. */
export async function writePrograms(directory: string): Promise<void> {
  const programs = { bun: `"${process.execPath}"`, slipway: SLIPWAY.map((word) => `"${word}"`).join(" ") };
  for (const [name, command] of Object.entries(programs)) {
    await Bun.write(`${directory}/${name}`, `#!/bin/sh\nexec ${command} "$@"\n`);
    await chmod(`${directory}/${name}`, 0o755);
  }
}

/** Writes a release as `bun run release` does, with the program `slipway` of this clone in place of the binaries. */
export async function writeRelease(directory: string): Promise<void> {
  const program = await Bun.file(`${directory}/bin/slipway`).bytes();
  const compressed = Bun.gzipSync(program);
  const sum = new Bun.CryptoHasher("sha256").update(compressed).digest("hex");
  const names = ["slipway-linux-arm64.gz", "slipway-linux-x64.gz"];
  for (const name of names) await Bun.write(`${directory}/${name}`, compressed);
  await Bun.write(`${directory}/SHA256SUMS`, names.map((name) => `${sum}  ${name}\n`).join(""));
}
