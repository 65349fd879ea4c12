import { Database as Sqlite } from "bun:sqlite";
import { timestamp } from "../../../../lib/domain/types.ts";
import { newStore, someFunction, someInvocation } from "../../../store/sqlite/support/stores.ts";

/** The time over which the calls are spread: less than records are kept. */
const SPREAD = 6.9 * 24 * 3_600_000;

/** The function that has a quarter of all calls. */
export const BUSY = "fn-0";

/** Returns the id of a call, in the order of their times. */
export function idOf(i: number): string {
  return `0190${i.toString(16).padStart(8, "0")}`;
}

/**
 * Makes a database of functions and of calls of the last days, which are counted: one in ten has failed, some were too slow or are
 * dead, and each has a parent in one of a hundred. A million take some minutes.
 */
export async function fillDatabase(
  path: string,
  size: { readonly records: number; readonly functions: number },
): Promise<void> {
  const { records, functions } = size;
  {
    using store = newStore(path);
    for (let first = 0; first < functions; first += 1_000) {
      const some = Array.from({ length: Math.min(1_000, functions - first) }, (_, i) => first + i);
      await Promise.all(some.map((i) => store.functions.insert(someFunction(`f${i}`, { name: `fn-${i}` }))));
    }
  }
  insertCalls(path, records, functions);
  using store = newStore(path);
  while ((await store.stats.count(5_000)).left !== "nothing");
}

function insertCalls(path: string, records: number, functions: number): void {
  using sqlite = new Sqlite(path, { strict: true });
  const like = someInvocation("");
  const columns = Object.keys(like);
  const insert = sqlite.query(
    `insert into invocations (${columns.join()}) values (${columns.map((name) => `$${name}`).join()})`,
  );
  sqlite.run("pragma synchronous = off; pragma cache_size = -400000; begin");
  const now = Date.now();
  for (let i = 0; i < records; i++) {
    const at = now - (SPREAD * (records - i)) / records;
    const status = i % 10 === 0 ? "failed" : i % 500 === 1 ? "timed_out" : i % 501 === 2 ? "dead" : "succeeded";
    insert.run({
      ...like,
      id: idOf(i),
      function_id: `f${i % 4 === 0 ? 0 : (i * 7919) % functions}`,
      status,
      reason: status === "failed" ? "function_failed" : null,
      mode: i % 3 === 0 ? "async" : "sync",
      parent_id: i % 100 === 99 ? idOf(i - 99) : null,
      run_ms: 1 + (i % 5_000) / 7,
      created_at: timestamp(at),
      finished_at: timestamp(at + 100),
    });
  }
  sqlite.run("commit");
}
