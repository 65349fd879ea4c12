import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../../../lib/clock.ts";
import { FUNCTION_DEFAULTS, type Function } from "../../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { Route } from "../../../../lib/domain/routes/routes.ts";
import { UNTRACED } from "../../../../lib/domain/tracing/trace-context.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import { createLogger, type Logger } from "../../../../lib/log.ts";
import { retryStale } from "../../../../lib/store/errors.ts";
import type { Changed } from "../../../../lib/store/records.ts";
import { openSqliteStore, type SqliteStore } from "../../../../lib/store/sqlite/store.ts";

/** The time at which tests begin. */
export const START = Date.UTC(2026, 0, 31, 12);

/** A clock that stands still, and numbers its UUIDs. */
export function stillClock(now = START): Clock {
  let uuids = 0;
  const uuid = () => `00000000-0000-4000-8000-${String(uuids++).padStart(12, "0")}`;
  return {
    now: () => now,
    monotonic: () => now,
    after: () => () => undefined,
    random: () => 0.5,
    uuid,
    invocationId: uuid,
  };
}

/** A logger, with the events that it got. */
export function listeningLog(): { log: Logger; events: Record<string, unknown>[] } {
  const events: Record<string, unknown>[] = [];
  const write = (line: string) => {
    events.push(JSON.parse(line) as Record<string, unknown>); // the logger writes objects
  };
  return { log: createLogger({ level: "debug", format: "json", clock: stillClock(), write }), events };
}

/** A directory that is removed with the test. */
export function scratchDirectory(): Disposable & { readonly path: string; file(name: string): string } {
  const path = mkdtempSync(join(tmpdir(), "slipway-store-"));
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** An empty store in memory, or one in a file. */
export function newStore(path = ":memory:", clock = stillClock()): SqliteStore {
  return openSqliteStore(path, { log: listeningLog().log, clock });
}

/** Changes a function as services do: retries if others change something first. Undefined if there is none. */
export function changeFunction(
  store: SqliteStore,
  id: string,
  change: (before: Function) => Function,
): Promise<Changed<Function> | undefined> {
  return retryStale(async () => {
    const before = store.functions.latest(id);
    if (before === undefined) return undefined;
    const after = change(before);
    await store.functions.replace(before, after);
    return { before, after };
  });
}

/** The same for a route, which depends on everything that was read. */
export function changeRoute(
  store: SqliteStore,
  id: string,
  change: (before: Route) => Route,
): Promise<Changed<Route> | undefined> {
  return retryStale(async () => {
    const { revision } = store;
    const before = store.routes.get(id);
    if (before === undefined) return undefined;
    const after = change(before);
    await store.routes.replace(before, after, { revision });
    return { before, after };
  });
}

/** A function with the id `id`. */
export function someFunction(id: string, fields: Partial<Function> = {}): Function {
  return {
    ...FUNCTION_DEFAULTS,
    id,
    image: "busybox:1.36",
    image_id: "sha256:1",
    digest: null,
    created_at: timestamp(START),
    updated_at: timestamp(START),
    ...fields,
  };
}

/** An invocation that succeeded. */
export function someInvocation(id: string, fields: Partial<Invocation> = {}): Invocation {
  return {
    id,
    function_id: "f1",
    route_id: null,
    image_id: "sha256:1",
    contract: "files",
    status: "succeeded",
    reason: null,
    message: null,
    exit_code: 0,
    signal: null,
    start: "cold",
    queue_ms: 0.25,
    start_ms: 100,
    boot_ms: null,
    first_byte_ms: null,
    run_ms: 3.5,
    cpu_ms: 1,
    peak_memory_bytes: 1 << 20,
    request_bytes: 2,
    response_bytes: 2,
    log_bytes: 0,
    log_dropped_bytes: 0,
    mode: "sync",
    attempts: 1,
    priority: 0,
    run_at: null,
    version: 1,
    parent_id: null,
    replay_of: null,
    schedule_id: null,
    chain_depth: 0,
    key_id: null,
    undelivered: null,
    callback_url: null,
    ...UNTRACED,
    created_at: timestamp(START),
    finished_at: timestamp(START + 104),
    ...fields,
  };
}

/** The error that `run` throws. */
export function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** The error that a promise is rejected with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  const [end] = await Promise.allSettled([promise]);
  if (end.status === "rejected") return end.reason;
  throw new Error("it was not rejected");
}
