import type { SQL, TransactionSQL } from "bun";
import { DeadlineError } from "../errors.ts";

/** The time that the process may take between two statements, in milliseconds: it reads, or migrates, rows of SQLite. */
const IDLE_MS = 600_000;

/**
 * Statements may take as long as they need. If the process is killed, the database ends the one that runs, and undoes all: from PostgreSQL 14
 * on it looks for that while it runs. A setting that a version or a platform does not have is left out; the last one is of PostgreSQL 17.
 */
const LIMITS = `
  set local statement_timeout = 0;
  set local idle_in_transaction_session_timeout = ${IDLE_MS};
  do $$ begin perform set_config('client_connection_check_interval', '1s', true); exception when others then null; end $$;
  do $$ begin perform set_config('transaction_timeout', '0', true); exception when others then null; end $$`;

interface Session {
  readonly client: SQL;
  /** Connects to the same database. */
  readonly connect: () => SQL;
  /** The time between two looks at the session of the transaction, and that such a look may take, in milliseconds. */
  readonly lookMs: number;
  /** Ends the connections of the client. */
  readonly giveUp: () => void;
}

/** Runs `work` in one transaction, however long that takes. Rejects if the database does not answer others, or has lost the session. */
export async function longTransaction<T>(
  { client, connect, lookMs, giveUp }: Session,
  work: (transaction: TransactionSQL) => Promise<T>,
): Promise<T> {
  const { promise: lost, reject } = Promise.withResolvers<never>();
  let pid: number | null = null;
  let isOver = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = async (): Promise<void> => {
    const isThere = await knows(connect(), pid, lookMs);
    if (isOver) return;
    if (isThere) return wait();
    reject(new DeadlineError(`The database has not answered within ${lookMs} ms`));
    giveUp();
  };
  const wait = (): void => {
    timer = setTimeout(() => void look(), lookMs);
  };
  wait();
  const run = client.begin(async (transaction) => {
    await transaction.unsafe(LIMITS);
    const [session] = await transaction.unsafe<{ pid: number }[]>("select pg_backend_pid() as pid");
    pid = session?.pid ?? null;
    return work(transaction);
  });
  try {
    return await Promise.race([run, lost]);
  } finally {
    isOver = true;
    clearTimeout(timer);
  }
}

/** Returns whether the database answers, and still has the session if there is one. An error is an answer, too: it may have no connection left. */
async function knows(sql: SQL, pid: number | null, limitMs: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  // If this process was what did not run, the answer is there by now: it is read first.
  const timer = setTimeout(() => setImmediate(() => resolve(false)), limitMs);
  const asked = sql.unsafe("select pid from pg_stat_activity where pid = $1", [pid]).then(
    (found: readonly unknown[]) => pid === null || found.length > 0,
    () => true,
  );
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
    void sql.close({ timeout: 0 }).catch(() => undefined);
  }
}
