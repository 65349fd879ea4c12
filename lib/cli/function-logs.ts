import type { Invocation, InvocationLogs, LogEntry } from "../domain/calls/invocations.ts";
import type { ApiClient } from "./api/api-client.ts";
import { hasEnded } from "./api/invocation-end.ts";
import { firstOf } from "./api/pages.ts";
import { serverEvents } from "./api/server-events.ts";
import { LogLines } from "./output/log-lines.ts";
import type { Output } from "./output/output.ts";

/** The interval at which new invocations of a function are looked for, in milliseconds. */
const INTERVAL_MS = 1_000;
/** Running invocations of a function that are followed at the same time. */
const FOLLOWED = 16;

/** The end of the id: the beginning is the time, which is the same for all of a moment. */
export function prefixOf(id: string): string {
  return `${id.slice(-12)}  `;
}

/** Returns the latest invocations of a function, newest first. */
export function invocationsOf(
  server: ApiClient,
  functionId: string,
  limit: number,
  since?: string,
): Promise<Invocation[]> {
  const query = { function_id: functionId, since };
  return firstOf<Invocation>(server, { method: "GET", path: "/v1/invocations", query }, "invocations", limit);
}

/** Prints what an invocation has printed so far. */
export async function printOne(server: ApiClient, out: Output, id: string, prefix: string): Promise<void> {
  const { entries, dropped_bytes } = await server.data<InvocationLogs>({
    method: "GET",
    path: `/v1/invocations/${id}/logs`,
  });
  if (out.json) return out.value({ invocation_id: id, entries, dropped_bytes }, { compact: prefix !== "" });
  const lines = new LogLines(out, prefix);
  lines.add(entries);
  lines.end();
}

/** Prints what an invocation has printed and prints, until it ends. */
export async function followOne(server: ApiClient, out: Output, id: string, prefix: string): Promise<void> {
  const lines = new LogLines(out, prefix);
  for await (const { event, data } of serverEvents(server, { method: "GET", path: `/v1/invocations/${id}/events` })) {
    if (event !== "log") continue;
    const { entries } = data as { readonly entries: readonly LogEntry[] }; // as the API promises
    if (out.json) for (const entry of entries) out.value({ invocation_id: id, ...entry }, { compact: true });
    else lines.add(entries);
  }
  lines.end();
}

/** Prints what the invocations of a function print: those that there are, and all that come. */
export async function followFunction(
  server: ApiClient,
  out: Output,
  id: string,
  latest: readonly Invocation[],
): Promise<void> {
  const seen = new Set<string>();
  const followed = new Set<Promise<void>>();
  const failure = Promise.withResolvers<never>();
  // It is also looked at when nothing waits for it.
  failure.promise.catch(() => undefined);
  let since = latest[0]?.created_at ?? new Date().toISOString();
  let found: readonly Invocation[] = latest;
  for (;;) {
    for (const invocation of found.toReversed()) {
      // One that waits has printed nothing: the next look finds it again.
      if (seen.has(invocation.id) || invocation.status === "queued") continue;
      seen.add(invocation.id);
      if (followed.size >= FOLLOWED) await Promise.race(followed);
      const printed = hasEnded(invocation)
        ? printOne(server, out, invocation.id, prefixOf(invocation.id))
        : followOne(server, out, invocation.id, prefixOf(invocation.id));
      followed.add(printed);
      printed.finally(() => followed.delete(printed)).catch(failure.reject);
      if (hasEnded(invocation)) await printed;
    }
    await Promise.race([Bun.sleep(INTERVAL_MS), failure.promise]);
    found = await invocationsOf(server, id, Number.MAX_SAFE_INTEGER, since);
    const waiting = found.findLast(({ status }) => status === "queued");
    since = (waiting ?? found[0])?.created_at ?? since;
    for (const old of seen) if (seen.size > 10_000) seen.delete(old);
  }
}
