/** Thrown if something is missing that only the person at the machine can fix; the message says how. */
export class SetupError extends Error {
  override readonly name = "SetupError";
}

/** The result of a finished program. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; `input` goes to its stdin. A non-zero exit code is a result, not an error. */
export async function run(command: readonly string[], input?: Blob | Uint8Array): Promise<Finished> {
  const child = Bun.spawn([...command], { stdin: input ?? "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

/** Runs a program and returns its output; a non-zero exit code throws. */
export async function runOrThrow(command: readonly string[], input?: Blob | Uint8Array): Promise<string> {
  const { code, stdout, stderr } = await run(command, input);
  if (code !== 0) {
    // Some programs, such as docker exec, print their errors to stdout.
    const reason = stderr.trim() || stdout.trim().slice(-1000);
    throw new Error(`Cannot run "${command.join(" ")}": exit code ${code}: ${reason}`);
  }
  return stdout;
}

let listsUpdated = false;

/**
 * Returns the path of `program`, installing Debian packages if it is missing.
 * Without root or apt-get it throws a `SetupError` with the command to run.
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
  await installDebianPackages(packages);
  const installed = findProgram(program);
  if (installed === null)
    throw new SetupError(`Cannot find "${program}" although ${packages.join(", ")} are installed`);
  return installed;
}

/**
 * Installs the packages of those programs that are missing, with one call of apt. Whoever needs one of them asks for it by
 * `ensureProgram` all the same, which says what to do if it could not be installed here.
 */
export async function installMissing(programs: Readonly<Record<string, readonly string[]>>): Promise<void> {
  const missing = Object.keys(programs).filter((program) => findProgram(program) === null);
  if (missing.length === 0 || process.getuid?.() !== 0 || findProgram("apt-get") === null) return;
  const packages = [...new Set(missing.flatMap((program) => programs[program] ?? []))];
  process.stderr.write(`Installing ${packages.join(", ")} ...\n`);
  await installDebianPackages(packages).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  });
}

/** Returns the path of a program that an earlier step has installed. */
export function requireProgram(program: string): string {
  const found = findProgram(program);
  if (found === null) throw new SetupError(`Cannot find "${program}"`);
  return found;
}

/** Returns the path of a program, or null. Looks in the system directories too: a plain user's PATH has no sbin. */
export function findProgram(program: string): string | null {
  return Bun.which(program, { PATH: `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin` });
}

/**
 * Runs the rest of a command while no other process of ours uses apt: tests run side by side, and apt gives up at once
 * when another one updates its lists. Any directory can be locked.
 */
const ALONE_WITH_APT: readonly string[] = ["flock", "/var/lib/apt"];

/** Installs Debian packages without prompts. Updates the package lists at most once per process. */
export async function installDebianPackages(packages: readonly string[]): Promise<void> {
  const install = [
    ...ALONE_WITH_APT,
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
  // Debian's images come without package lists. With fresh lists the first try succeeds, at no further cost.
  if (listsUpdated || (await run(install)).code !== 0) {
    if (!listsUpdated) await updatePackageLists();
    listsUpdated = true;
    await runOrThrow(install);
  }
}

/** Waits until no other process of ours installs packages: a program may be there before the libraries that it needs. */
export async function untilInstalled(): Promise<void> {
  if (findProgram("apt-get") !== null) await run([...ALONE_WITH_APT, "true"]);
}

/** Fetches Debian's lists of packages. */
export async function updatePackageLists(): Promise<void> {
  await runOrThrow([...ALONE_WITH_APT, "apt-get", "update"]);
}
