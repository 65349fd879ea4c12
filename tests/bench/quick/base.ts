import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Architecture } from "../../../.ci/architectures.ts";
import { run, runOrThrow, SetupError } from "../../../.ci/packages.ts";
import { ROOT } from "../../../.ci/steps.ts";

/** A commit that the working tree is compared with, checked out and compiled. */
export interface Base extends AsyncDisposable {
  readonly executable: string;
}

/** Returns the full id of a commit; without a name, of where the working tree left `main`, or of HEAD if that is unknown. */
export async function findBase(name: string | undefined): Promise<string> {
  if (name !== undefined) {
    const { code, stdout } = await git("rev-parse", "--verify", "--quiet", `${name}^{commit}`);
    if (code !== 0)
      throw new SetupError(`Unknown commit "${name}": give a commit, a branch or a tag of this repository`);
    return stdout.trim();
  }
  for (const branch of ["main", "origin/main"]) {
    const { code, stdout } = await git("merge-base", "HEAD", branch);
    if (code === 0) return stdout.trim();
  }
  return (await runOrThrow(["git", "-C", ROOT, "rev-parse", "HEAD"])).trim();
}

/** Returns a commit's short id and subject. */
export async function describeCommit(commit: string): Promise<string> {
  return (await runOrThrow(["git", "-C", ROOT, "log", "-1", "--format=%h %s", commit])).trim();
}

/** Compiles a commit in a directory of its own, which is removed in the end. */
export async function buildBase(commit: string, architecture: Architecture): Promise<Base> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-bench-base-"));
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    const archive = join(directory, "base.tar");
    // An archive, since a worktree would stay in the repository's list if this process were killed.
    await runOrThrow(["git", "-C", ROOT, "archive", "--output", archive, commit]);
    await runOrThrow(["tar", "-xf", archive, "-C", directory]);
    const build = ["env", "-C", directory, process.execPath, ".ci/build.ts", architecture];
    await runOrThrow(build);
    return { executable: join(directory, "dist", `slipway-linux-${architecture}`), [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

function git(...args: readonly string[]) {
  return run(["git", "-C", ROOT, ...args]);
}
