import { type PrivatePostgres, startPostgres } from "./private-postgres.ts";

let shared: Promise<PrivatePostgres> | undefined;
let databases = 0;

/**
 * Returns the PostgreSQL that all tests of this process share; the first one starts it, and it ends with the process. An `afterAll`
 * of a preload would end it after each file of a process that runs several (Bun 1.4.5).
 */
function sharedPostgres(): Promise<PrivatePostgres> {
  return (shared ??= startPostgres());
}

/** An own database in the shared PostgreSQL. */
export interface Database {
  readonly url: string;
  /** Runs statements in it. */
  run(sql: string): Promise<void>;
}

/** Creates an empty database. */
export async function newDatabase(): Promise<Database> {
  const postgres = await sharedPostgres();
  const name = `d${++databases}`;
  await postgres.run(`create database ${name}`);
  return { url: postgres.url(name), run: (sql) => postgres.run(sql, name) };
}
