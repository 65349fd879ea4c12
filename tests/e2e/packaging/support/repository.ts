import { existsSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { runOrThrow } from "../../../../.ci/packages.ts";

export const REPOSITORY = join(import.meta.dir, "../../../..");

/** Copies the files that a clone would have into `directory`, as they are now: committed or not, nothing ignored. */
export async function copyRepository(directory: string): Promise<void> {
  const listed = await runOrThrow(["git", "-C", REPOSITORY, "ls-files", "-z", "-co", "--exclude-standard"]);
  const files = listed.split("\0").filter((name) => name !== "" && existsSync(join(REPOSITORY, name)));
  for (const name of files) await cp(join(REPOSITORY, name), join(directory, name));
}
