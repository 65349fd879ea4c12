import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireProgram } from "../../../.ci/packages.ts";
import { SLIPWAY } from "../../support/program.ts";

/** The output of a command, and its exit code. */
export interface Typed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A person at a shell: a home directory, variables, and the command `slipway`, in processes of their own. */
export class Person implements AsyncDisposable {
  readonly home: string;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(home: string, variables: Readonly<Record<string, string>>) {
    this.home = home;
    this.#env = { PATH: process.env["PATH"] ?? "", HOME: home, TERM: "xterm", ...variables };
  }

  static async arrive(variables: Readonly<Record<string, string>> = {}): Promise<Person> {
    return new Person(await mkdtemp(join(tmpdir(), "slipway-person-")), variables);
  }

  /** Types `slipway` with these words; `input` comes by a pipe. */
  async types(words: readonly string[], { input = "", env = {} }: Typing = {}): Promise<Typed> {
    const child = this.#spawn([...SLIPWAY, ...words], env);
    await child.stdin.write(input);
    await child.stdin.end();
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { code, stdout, stderr };
  }

  /** Types the same at a terminal, where standard output and standard error are one; `input` is typed, too. */
  async typesAtTerminal(
    words: readonly string[],
    { input = "", env = {} }: Typing = {},
  ): Promise<Omit<Typed, "stderr">> {
    const child = this.startsAtTerminal(words, env);
    const printed = child.stdout.text();
    await child.stdin.write(input);
    await child.stdin.flush();
    const code = await child.exited;
    return { code, stdout: (await printed).replaceAll("\r\n", "\n") };
  }

  /** Starts a command that goes on, at a terminal. */
  startsAtTerminal(
    words: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Bun.Subprocess<"pipe", "pipe", "pipe"> {
    const line = [...SLIPWAY, ...words].map(quoted).join(" ");
    return this.#spawn([requireProgram("script"), "-qefc", `exec ${line}`, "/dev/null"], env);
  }

  /** Starts a command that goes on; what it prints comes by `stdout`. */
  starts(words: readonly string[]): Bun.Subprocess<"pipe", "pipe", "pipe"> {
    return this.#spawn([...SLIPWAY, ...words], {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.home, { recursive: true, force: true });
  }

  #spawn(command: string[], env: Readonly<Record<string, string>>) {
    return Bun.spawn([requireProgram("setpriv"), "--pdeathsig", "KILL", ...command], {
      cwd: this.home,
      env: { ...this.#env, ...env },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
  }
}

interface Typing {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
