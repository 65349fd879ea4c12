import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findProgram, installDebianPackages, SetupError, untilInstalled } from "../../../.ci/packages.ts";

/** The folder of Debian's versions of PostgreSQL. */
const VERSIONS = "/usr/lib/postgresql";

/** Returns the folder with the programs of PostgreSQL (`initdb`, `postgres`); as root on Debian it installs them if they are missing. */
export async function postgresPrograms(): Promise<string> {
  const found = await newest();
  if (found !== undefined) {
    await untilInstalled();
    return found;
  }
  if (process.getuid?.() !== 0 || findProgram("apt-get") === null) {
    throw new SetupError(
      "Cannot find PostgreSQL. Install it and try again, on Debian: sudo apt-get install postgresql",
    );
  }
  // Debian's package starts a server of its own, unless it is told not to.
  await mkdir("/etc/postgresql-common", { recursive: true });
  const settings = "/etc/postgresql-common/createcluster.conf";
  if (!existsSync(settings)) await writeFile(settings, "create_main_cluster = false\n");
  await installDebianPackages(["postgresql"]);
  const installed = await newest();
  if (installed === undefined) throw new SetupError(`Cannot find PostgreSQL in ${VERSIONS} although it is installed`);
  return installed;
}

async function newest(): Promise<string | undefined> {
  if (!existsSync(VERSIONS)) return undefined;
  const versions = await Array.fromAsync(new Bun.Glob("*/bin/initdb").scan({ cwd: VERSIONS }));
  const number = (path: string) => Number.parseInt(path, 10);
  const [last] = versions.toSorted((one, other) => number(other) - number(one));
  return last === undefined ? undefined : join(VERSIONS, last, "..");
}
