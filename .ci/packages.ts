/** Raised when something is missing that only the person at the machine can mend; the message says how. */
export class SetupError extends Error {
  override readonly name = "SetupError";
}

/** Answers of a finished program. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; `input` goes to its stdin. A non-zero exit is an answer, not an error. */
export async function run(command: readonly string[], input?: Blob | Uint8Array): Promise<Finished> {
  const child = Bun.spawn([...command], { stdin: input ?? "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

/** Runs a program that has to succeed, and returns what it printed. */
export async function runOrThrow(command: readonly string[], input?: Blob | Uint8Array): Promise<string> {
  const { code, stdout, stderr } = await run(command, input);
  if (code !== 0) {
    // Some programs, docker exec among them, complain on stdout.
    const reason = stderr.trim() || stdout.trim().slice(-1000);
    throw new Error(`Cannot run "${command.join(" ")}": exit code ${code}: ${reason}`);
  }
  return stdout;
}

let listsUpdated = false;

/**
 * Makes sure that `program` is on the PATH, by installing Debian packages when it is not.
 * Without root or apt-get it fails with the command that a person would have to type.
 */
export async function ensureProgram(program: string, packages: readonly string[]): Promise<string> {
  const found = findProgram(program);
  if (found !== null) return found;
  if (process.getuid?.() !== 0 || findProgram("apt-get") === null) {
    throw new SetupError(
      `Cannot find "${program}". Install it and try again, on Debian: sudo apt-get install ${packages.join(" ")}`,
    );
  }
  process.stderr.write(`Installing ${packages.join(", ")} for "${program}" ...\n`);
  await installPackages(packages);
  const installed = findProgram(program);
  if (installed === null)
    throw new SetupError(`Cannot find "${program}" although ${packages.join(", ")} are installed`);
  return installed;
}

/** Where a program is that an earlier step has made sure of. */
export function requireProgram(program: string): string {
  const found = findProgram(program);
  if (found === null) throw new SetupError(`Cannot find "${program}"`);
  return found;
}

/** Where a program is, looking into the system directories too: a plain user's PATH has no sbin. */
export function findProgram(program: string): string | null {
  return Bun.which(program, { PATH: `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin` });
}

/** Installs Debian packages without asking anything; the lists are fetched at most once a process. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  const install = [
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "apt-get",
    "install",
    "-y",
    "--no-install-recommends",
    "-o",
    "DPkg::Lock::Timeout=300",
    ...packages,
  ];
  // An image of Debian comes without lists; with fresh lists the first try succeeds and costs nothing more.
  if (listsUpdated || (await run(install)).code !== 0) {
    if (!listsUpdated) await runOrThrow(["apt-get", "update"]);
    listsUpdated = true;
    await runOrThrow(install);
  }
}
