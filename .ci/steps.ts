import { dirname, join } from "node:path";
import { SetupError } from "./packages.ts";

/** Where the repository is. */
export const ROOT = dirname(import.meta.dir);

/** Says what happens next. */
export function say(text: string): void {
  console.log(`\n== ${text}`);
}

/** Installs the packages of bun.lock. Nothing here or in what it imports may need one of them. */
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

/** Runs a script's work and exits with its code; failures that a person can mend come without a stack. */
export async function main(work: () => Promise<number>): Promise<never> {
  let code = 1;
  try {
    code = await work();
  } catch (error) {
    console.error(error instanceof SetupError ? `\n${error.message}` : error);
  }
  // Not by running out of work: a step that was interrupted may still have some.
  process.exit(code);
}

/** A path inside the repository. */
export function inRepository(...parts: string[]): string {
  return join(ROOT, ...parts);
}
