import { setTimeout as sleep } from "node:timers/promises";
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
  { since, signal }: { readonly since?: string; readonly signal?: AbortSignal | undefined } = {},
): Promise<Invocation[]> {
  const request = { method: "GET", path: "/v1/invocations", query: { function_id: functionId, since } } as const;
  return firstOf<Invocation>(server, { ...request, ...(signal && { signal }) }, "invocations", limit);
}

/** Options of following a function. */
interface FollowOptions {
  /** The invocations to begin with, newest first. */
  readonly latest: readonly Invocation[];
  /** RFC 3339: later ones are shown, too; from now on by default. */
  readonly since?: string | undefined;
  /** The ids of those that are not shown, or were already. */
  readonly seen?: Set<string>;
  /** Called when one has ended, after what it has printed. */
  readonly onEnd?: (invocation: Invocation) => void;
  /** Ends the following with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Prints what an invocation has printed so far, and returns the number of its pieces. */
export async function printOne(server: ApiClient, out: Output, id: string, prefix: string): Promise<number> {
  const { entries, dropped_bytes } = await server.data<InvocationLogs>({
    method: "GET",
    path: `/v1/invocations/${id}/logs`,
  });
  if (out.json) {
    out.value({ invocation_id: id, entries, dropped_bytes }, { compact: prefix !== "" });
    return entries.length;
  }
  const lines = new LogLines(out, prefix);
  lines.add(entries);
  lines.end();
  return entries.length;
}

/** Prints what an invocation has printed and prints, until it ends. */
export async function followOne(
  server: ApiClient,
  out: Output,
  id: string,
  prefix: string,
  signal?: AbortSignal,
): Promise<void> {
  const lines = new LogLines(out, prefix);
  const request = { method: "GET", path: `/v1/invocations/${id}/events`, ...(signal && { signal }) } as const;
  for await (const { event, data } of serverEvents(server, request)) {
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
  { latest, seen = new Set(), ...options }: FollowOptions,
): Promise<void> {
  const { signal } = options;
  const followed = new Set<Promise<void>>();
  const failure = Promise.withResolvers<never>();
  // It is also looked at when nothing waits for it.
  failure.promise.catch(() => undefined);
  let since = latest[0]?.created_at ?? options.since ?? new Date().toISOString();
  let found: readonly Invocation[] = latest;
  for (;;) {
    for (const invocation of found.toReversed()) {
      // One that waits has printed nothing: the next look finds it again.
      if (seen.has(invocation.id) || invocation.status === "queued") continue;
      seen.add(invocation.id);
      if (followed.size >= FOLLOWED) await Promise.race(followed);
      const printed = printCall(server, out, invocation, options);
      followed.add(printed);
      printed.finally(() => followed.delete(printed)).catch(failure.reject);
      if (hasEnded(invocation)) await printed;
    }
    await Promise.race([sleep(INTERVAL_MS, undefined, { signal }), failure.promise]);
    found = await invocationsOf(server, id, Number.MAX_SAFE_INTEGER, { since, signal });
    const waiting = found.findLast(({ status }) => status === "queued");
    since = (waiting ?? found[0])?.created_at ?? since;
    for (const old of seen) if (seen.size > 10_000) seen.delete(old);
  }
}

/** Prints what a call of a function has printed and prints, to its end. */
async function printCall(
  server: ApiClient,
  out: Output,
  invocation: Invocation,
  { onEnd, signal }: Pick<FollowOptions, "onEnd" | "signal">,
): Promise<void> {
  const { id } = invocation;
  if (hasEnded(invocation)) {
    await printOne(server, out, id, prefixOf(id));
    return onEnd?.(invocation);
  }
  await followOne(server, out, id, prefixOf(id), signal);
  if (onEnd !== undefined) onEnd(await server.data<Invocation>({ method: "GET", path: `/v1/invocations/${id}` }));
}
