import type { Invocation, InvocationLogs, LogEntry } from "../../../domain/calls/invocations.ts";
import type { FunctionWithPool } from "../../../domain/functions/functions.ts";
import { type ApiClient, ApiError } from "../../api/api-client.ts";
import { hasEnded } from "../../api/invocation-end.ts";
import { about, segment } from "../../api/names.ts";
import { firstOf } from "../../api/pages.ts";
import { serverEvents } from "../../api/server-events.ts";
import { count } from "../../option-readers.ts";
import { LogLines } from "../../output/log-lines.ts";
import type { Output } from "../../output/output.ts";
import type { Define } from "../../tools.ts";

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** The interval at which new invocations of a function are looked for, in milliseconds. */
const INTERVAL_MS = 1_000;
/** Running invocations of a function that are followed at the same time. */
const FOLLOWED = 16;

/** `slipway logs`: what one invocation, or the latest ones of a function, have printed; `-f` goes on. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("<function|invocation>", "The function's name or id, or the id of an invocation.")
    .option("-f, --follow", "Go on with what is printed from now on, until Ctrl-C.")
    .option("-n, --limit <count>", "With a function: the most invocations to begin with.", count, 10)
    .action(async (name, { follow, limit }) => {
      const server = client();
      const invocation = UUID.test(name) ? await findInvocation(server, name) : undefined;
      if (invocation !== undefined) {
        if (follow === true) return followOne(server, out, invocation.id, "");
        return printOne(server, out, invocation.id, "");
      }
      const path = `/v1/functions/${segment("function", name)}`;
      const fn = await about(server, "function", name, () => server.data<FunctionWithPool>({ method: "GET", path }));
      const latest = await invocationsOf(server, fn.id, limit);
      if (follow === true) return followFunction(server, out, fn.id, latest);
      if (latest.length === 0) out.note("No invocations yet");
      for (const { id } of latest.toReversed()) await printOne(server, out, id, prefixOf(id));
    });
};

/** The end of the id: the beginning is the time, which is the same for all of a moment. */
function prefixOf(id: string): string {
  return `${id.slice(-12)}  `;
}

async function findInvocation(server: ApiClient, id: string): Promise<Invocation | undefined> {
  try {
    return await server.data<Invocation>({ method: "GET", path: `/v1/invocations/${id}` });
  } catch (error) {
    // It may be the id of a function.
    if (error instanceof ApiError && error.reason === "not_found") return undefined;
    throw error;
  }
}

function invocationsOf(server: ApiClient, functionId: string, limit: number, since?: string): Promise<Invocation[]> {
  const query = { function_id: functionId, since };
  return firstOf<Invocation>(server, { method: "GET", path: "/v1/invocations", query }, "invocations", limit);
}

async function printOne(server: ApiClient, out: Output, id: string, prefix: string): Promise<void> {
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
async function followOne(server: ApiClient, out: Output, id: string, prefix: string): Promise<void> {
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
async function followFunction(
  server: ApiClient,
  out: Output,
  id: string,
  latest: readonly Invocation[],
): Promise<void> {
  const seen = new Set<string>();
  const followed = new Set<Promise<void>>();
  const failure = Promise.withResolvers<never>();
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
