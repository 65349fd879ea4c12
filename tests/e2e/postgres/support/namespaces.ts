import { closeSync, openSync, readFileSync } from "node:fs";
import { requireProgram } from "../../../../.ci/packages.ts";

/** The mounts, network and processes of a machine that is made of namespaces. All of it ends with this process. */
export class Namespaces implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"pipe", number, number>;
  readonly #log: string;

  /** Runs a command in new ones, whose output goes to a file; `more` are options of `unshare` that ask for further ones. */
  constructor(command: readonly string[], { log, more = [] }: { log: string; more?: readonly string[] }) {
    const ended = [requireProgram("setsid"), requireProgram("setpriv"), "--pdeathsig", "KILL"];
    const namespaces = [
      "-m",
      "-n",
      "-p",
      ...more,
      "-f",
      "--kill-child=KILL",
      "--mount-proc",
      "--propagation",
      "private",
    ];
    const output = openSync(log, "w");
    this.#child = Bun.spawn([...ended, requireProgram("unshare"), ...namespaces, ...command], {
      stdio: ["pipe", output, output],
    });
    closeSync(output);
    this.#log = log;
  }

  /** The first process in them, by its number out here; undefined while they are being made. */
  get pid(): number | undefined {
    const [first = ""] = readFileSync(`/proc/${this.#child.pid}/task/${this.#child.pid}/children`, "utf8").split(" ");
    return first === "" ? undefined : Number(first);
  }

  /** True if the command has ended. */
  get hasEnded(): boolean {
    return this.#child.exitCode !== null;
  }

  /** The end of what the command has printed. */
  get output(): string {
    return readFileSync(this.#log, "utf8").slice(-4_000);
  }

  /** Sends the command a line, for which it waits. */
  async goOn(): Promise<void> {
    void this.#child.stdin.write("\n");
    await this.#child.stdin.end();
  }

  /** Returns a command that runs another one in some of them, which are options of `nsenter`. */
  within(some: readonly string[], command: readonly string[]): string[] {
    return [requireProgram("nsenter"), "-t", String(this.pid), ...some, ...command];
  }

  /** Ends everything in them, as a power cut does. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}
