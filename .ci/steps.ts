import { dirname, join } from "node:path";
import { SetupError } from "./packages.ts";

/** The directory of the repository. */
export const ROOT = dirname(import.meta.dir);

/** Prints a heading for the next step. */
export function say(text: string): void {
  console.log(`\n== ${text}`);
}

/**
 * Installs the packages of bun.lock. A script that calls it, and everything that it imports, must do without packages:
 * a process that has once failed to find a package never finds it (Bun 1.4.5). Use packages in a process started later.
 */
export async function installPackages(): Promise<void> {
  const child = Bun.spawn([process.execPath, "install", "--frozen-lockfile"], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new SetupError(`Cannot install the packages:\n${stdout}${stderr}`);
}

/** Runs another script of the repository, with this one's output, and returns its exit code. */
export async function runScript(path: string, ...args: string[]): Promise<number> {
  const command = [process.execPath, inRepository(path), ...args];
  return Bun.spawn(command, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] }).exited;
}

/** Runs a script's work and exits with its code. Failures that the user can fix are printed without a stack. */
export async function main(work: () => Promise<number>): Promise<never> {
  let code = 1;
  try {
    code = await work();
  } catch (error) {
    console.error(error instanceof SetupError ? `\n${error.message}` : error);
  }
  // Explicitly: an interrupted step may still have work pending.
  process.exit(code);
}

/** A path inside the repository. */
export function inRepository(...parts: string[]): string {
  return join(ROOT, ...parts);
}
