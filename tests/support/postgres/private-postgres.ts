import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { eventually } from "../pace.ts";
import { postgresPrograms } from "./programs.ts";

/** The user "nobody": PostgreSQL refuses to run as root. */
const NOBODY = 65_534;

/** A PostgreSQL of the tests' own, on a socket in a directory of its own. It ends with this process at the latest. */
export interface PrivatePostgres extends AsyncDisposable {
  /** Returns the URL of a database of it. */
  url(database: string): string;
  /** Runs statements in a database, `postgres` if none is named. */
  run(sql: string, database?: string): Promise<void>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
  /** Stops it, and lets it go on. */
  freeze(): void;
  thaw(): void;
  /** Starts it again after `kill`. */
  start(): Promise<void>;
}

/** Starts a PostgreSQL with further settings (`synchronous_commit=off`). Nothing of it is synced to the disk. */
export async function startPostgres(settings: readonly string[] = []): Promise<PrivatePostgres> {
  const programs = await postgresPrograms();
  const directory = mkdtempSync(join(tmpdir(), "slipway-postgres-"));
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(directory, NOBODY, NOBODY);
  const data = join(directory, "data");
  const as = isRoot ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--pdeathsig=QUIT"] : [];
  const initdb = ["-D", data, "-U", "slipway", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"];
  const made = Bun.spawnSync([...as, join(programs, "initdb"), ...initdb], { stderr: "pipe", cwd: directory });
  if (made.exitCode !== 0) throw new Error(`Cannot make a database: ${made.stderr.toString()}`);
  const command = [...as, join(programs, "postgres"), "-D", data, "-k", directory, "-c", "listen_addresses="];
  const all = ["fsync=off", "full_page_writes=off", "max_connections=300", "shared_buffers=32MB", ...settings];
  for (const setting of all) command.push("-c", setting);
  const url = (database: string) => `postgres://slipway@localhost/${database}?host=${directory}`;
  let server = spawn();

  function spawn() {
    return Bun.spawn(command, {
      stdin: "ignore",
      stdout: "ignore",
      stderr: Bun.file(join(directory, "log")),
      cwd: directory,
    });
  }
  const run = async (sql: string, database = "postgres") => {
    await using client = new SQL(url(database), { max: 1 });
    await client.unsafe(sql);
  };
  const isUp = () =>
    eventually(() =>
      run("select 1").then(
        () => true,
        () => false,
      ),
    );
  const kill = async () => {
    server.kill("SIGQUIT");
    await server.exited;
  };
  const end = () => {
    server.kill("SIGQUIT");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", end);
  await isUp();
  return {
    url,
    run,
    kill,
    freeze: () => server.kill("SIGSTOP"),
    thaw: () => server.kill("SIGCONT"),
    start: async () => {
      server = spawn();
      await isUp();
    },
    [Symbol.asyncDispose]: async () => {
      process.off("exit", end);
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
