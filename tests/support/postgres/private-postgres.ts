import { chownSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { eventually } from "../pace.ts";
import { postgresPrograms } from "./programs.ts";

/** The user "nobody": PostgreSQL refuses to run as root. */
const NOBODY = 65_534;

/** The most that a start takes on a quiet machine: it may repair what a crash has left. */
const START_MS = 30_000;

/**
 * Ends the PostgreSQL of a directory and removes it, once the process that holds the other end of its stdin has ended. Processes of
 * `bun test` end without the event `exit` (Bun 1.4.5).
 */
const REMOVE_AT_END = `
  trap "" INT TERM HUP
  read -r _
  pid=$(head -n 1 "$1/data/postmaster.pid") && kill -QUIT "$pid" && kill -CONT "$pid"
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" && sleep 0.1; done
  rm -rf "$1"`;

/** A PostgreSQL of the tests' own, on a socket in a directory of its own. It ends with this process at the latest. */
export interface PrivatePostgres extends AsyncDisposable {
  /** The folder with its programs, `createdb` among them, and the directory of its socket. */
  readonly programs: string;
  readonly directory: string;
  /** Returns the URL of a database of it. */
  url(database: string): string;
  /** Runs statements in a database, `postgres` if none is named. */
  run(sql: string, database?: string): Promise<void>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
  /** Ends the process of one connection with SIGKILL: PostgreSQL ends all others then, and repairs itself. */
  crash(): void;
  /** Stops all of its processes, and lets them go on. */
  freeze(): void;
  thaw(): void;
  /** Starts it again after `kill`. */
  start(): Promise<void>;
}

/**
 * Starts a PostgreSQL with further settings (`synchronous_commit=off`), an empty one or a standby that is a copy of another. Nothing of it is synced to the disk: what a process has
 * written outlives it in the kernel's memory, so only a power cut would show the difference.
 */
export async function startPostgres(
  settings: readonly string[] = [],
  { standbyOf }: { readonly standbyOf?: PrivatePostgres } = {},
): Promise<PrivatePostgres> {
  const programs = await postgresPrograms();
  const directory = mkdtempSync(join(tmpdir(), "slipway-postgres-"));
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(directory, NOBODY, NOBODY);
  const data = join(directory, "data");
  const as = isRoot ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--pdeathsig=QUIT"] : [];
  const fresh = ["initdb", "-U", "slipway", "--auth=trust", "--encoding=UTF8", "--locale=C"];
  const copy = ["pg_basebackup", "-U", "slipway", "-h", standbyOf?.directory ?? "", "-R", "--checkpoint=fast"];
  const [program = "", ...how] = standbyOf === undefined ? fresh : copy;
  const make = [...as, join(programs, program), "-D", data, "--no-sync", ...how];
  const made = Bun.spawnSync(make, { stderr: "pipe", cwd: directory });
  if (made.exitCode !== 0) throw new Error(`Cannot make a database: ${made.stderr.toString()}`);
  const remover = Bun.spawn(["sh", "-c", REMOVE_AT_END, "sh", directory], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
    cwd: "/",
  });
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
  const isReady = () =>
    run("select 1").then(
      () => true,
      () => false,
    );
  const untilReady = async () => {
    const isUp = await eventually(() => server.exitCode !== null || isReady(), START_MS);
    if (isUp && server.exitCode === null) return;
    throw new Error(`PostgreSQL does not start: ${readFileSync(join(directory, "log"), "utf8").slice(-2_000)}`);
  };
  const kill = async () => {
    server.kill("SIGQUIT");
    await server.exited;
  };
  await untilReady();
  return {
    programs,
    directory,
    url,
    run,
    kill,
    crash() {
      const connection = childrenOf(server.pid).find((pid) => isConnection(pid));
      if (connection !== undefined) send(connection, "SIGKILL");
    },
    freeze() {
      // First the one that starts others, and may have started one as it was stopped.
      send(server.pid, "SIGSTOP");
      const stopped = new Set<number>();
      for (let more = childrenOf(server.pid); more.length > 0;) {
        for (const pid of more) send(pid, "SIGSTOP");
        for (const pid of more) stopped.add(pid);
        more = childrenOf(server.pid).filter((pid) => !stopped.has(pid));
      }
    },
    thaw() {
      for (const pid of [...childrenOf(server.pid), server.pid]) send(pid, "SIGCONT");
    },
    start: async () => {
      server = spawn();
      await untilReady();
    },
    [Symbol.asyncDispose]: async () => {
      await kill();
      await remover.stdin.end();
      await remover.exited;
    },
  };
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

/** Returns if a process of PostgreSQL serves a client: its title says which user and database. It may have ended meanwhile. */
function isConnection(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("postgres: slipway ");
  } catch {
    return false;
  }
}

/** Sends a signal to a process that may have ended meanwhile. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // the errors of process.kill
  }
}
