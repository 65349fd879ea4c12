import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Invocation, LogEntry } from "../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { allEvents, eventsOf, type ReceivedEvent } from "../../support/events.ts";
import { fixture } from "../../support/images.ts";
import { expectWithin, eventually } from "../../support/pace.ts";
import { freePort } from "../../support/ports/free-port.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { Cluster, LONG_MS } from "./support/cluster.ts";

let cluster: Cluster;
let a: SpawnedServer;
let b: SpawnedServer;
let fn: Function;

beforeAll(async () => {
  cluster = await Cluster.start();
  const port = String(freePort());
  // Others can reach B, and not A.
  const reachable = { PORT: port, ADVERTISE_URL: `http://127.0.0.1:${port}` };
  [a, b] = await Promise.all([cluster.server("a"), cluster.server("b", reachable)]);
  fn = await a.createFunction(await fixture("chaos"), { timeout_ms: 60_000 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

/**
 * Submits work that prints something at one server, and returns its id and the server that does not run it, once it has printed.
 */
async function running(body: object, at = a): Promise<{ readonly id: string; readonly other: SpawnedServer }> {
  const id = await cluster.submitted(at, fn, body);
  expect(await eventually(async () => (await cluster.holderOf(id)) !== null, LONG_MS)).toBe(true);
  const [own, other] = (await cluster.holderOf(id)) === "a" ? [a, b] : [b, a];
  const hasPrinted = async () => (await (await fetch(`${own.url}/v1/invocations/${id}/logs`)).text()).includes("text");
  expect(await eventually(hasPrinted, LONG_MS)).toBe(true);
  return { id, other };
}

test("an invocation that another server runs is cancelled as on that one", async () => {
  const { id, other } = await running({ do: "ignore_term" });
  const began = performance.now();
  const response = await fetch(`${other.url}/v1/invocations/${id}/cancel`, { method: "POST" });
  await expectWithin(performance.now() - began, 2_500);
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({ data: { status: "cancelled", attempts: 1, reason: "cancelled" } });
  const again = await fetch(`${other.url}/v1/invocations/${id}/cancel`, { method: "POST" });
  expect(again.status).toBe(409);
});

test("on another server ?wait= answers within moments of the end, and events are the states, what was printed, and the end", async () => {
  const { id, other } = await running({ do: "sleep", ms: 3_000 });
  const path = `${other.url}/v1/invocations/${id}`;
  const following = fetch(`${path}/events`).then(allEvents);
  const response = await fetch(`${path}?wait=60s`);
  const answered = Date.now();
  const { data } = (await response.json()) as { data: Invocation }; // an envelope
  expect(data.status).toBe("succeeded");
  await expectWithin(answered - Date.parse(data.finished_at ?? ""), 1_000);
  const events = await following;
  const states = events.flatMap(({ event, data }) => (event === "state" ? [(data as Invocation).status] : []));
  expect(states).toEqual(["running", "succeeded"]);
  expect(printedIn(events)).toBe("sleeping\n");
  expect(events.at(-1)?.event).toBe("end");
});

test("max_concurrency counts the calls of all servers, synchronous and asynchronous ones", async () => {
  const two = await a.createFunction(await fixture("chaos"), { max_concurrency: 2 });
  expect((await b.invoke(two, {})).status).toBe(200);
  const body = { do: "sleep", ms: 300 };
  const waits = [a, b, a, b, a, b].map(async (server) => {
    const response = await server.invoke(two, body);
    expect(response.status).toBe(200);
    return response.headers.get("x-request-id") ?? "";
  });
  const queued = [a, b, a, b].map((server) => cluster.submitted(server, two, body));
  const ids = await Promise.all([...waits, ...queued]);
  const runs: (readonly [number, number])[] = [];
  for (const id of ids) {
    const { created_at, queue_ms, start_ms, run_ms, finished_at, attempts, mode } = await cluster.ended(a, id);
    const end = Date.parse(finished_at ?? "");
    const begin = mode === "sync" ? Date.parse(created_at) + (queue_ms ?? 0) + (start_ms ?? 0) : end - (run_ms ?? 0);
    expect(attempts).toBe(1);
    // Times are rounded, and an end is noted a moment after it.
    runs.push([begin + 50, end - 50]);
  }
  const atOnce = runs.map(([begin]) => runs.filter((run) => run[0] <= begin && begin < run[1]).length);
  expect(Math.max(...atOnce)).toBe(2);
});

test("events on another server: what is printed comes before the end, once, if the server that runs it can be reached", async () => {
  const { id, other } = await runningAt(b, { do: "sleep", ms: 50_000 });
  const path = `${other.url}/v1/invocations/${id}`;
  const got: ReceivedEvent[] = [];
  const follow = async () => {
    for await (const event of eventsOf(await fetch(`${path}/events`))) {
      got.push(event);
      if (printedIn(got) !== "") break;
    }
  };
  await follow();
  expect(got.at(-1)?.event).toBe("log");
  // A late reader has all of it, too.
  const later = await fetch(`${path}/events`);
  const read = allEvents(later);
  expect(await eventually(async () => (await (await fetch(`${path}/logs`)).text()).includes("sleeping"), LONG_MS)).toBe(
    true,
  );
  expect((await cluster.recordOf(other, id)).status).toBe("running");
  expect((await fetch(`${path}/cancel`, { method: "POST" })).status).toBe(200);
  const events = await read;
  expect(printedIn(events)).toBe("sleeping\n");
  expect(events.at(-1)?.event).toBe("end");
  const { entries } = ((await (await fetch(`${path}/logs`)).json()) as { data: { entries: LogEntry[] } }).data; // an envelope
  expect(entries.map(({ text }) => text).join("")).toBe("sleeping\n");
});

test("the output of a server is for other servers only", async () => {
  const response = await fetch(`${b.url}/cluster/output`, { method: "POST", body: "id" });
  expect(response.status).toBe(401);
});

/** The same for work that one of the servers runs. */
async function runningAt(own: SpawnedServer, body: object) {
  for (;;) {
    const found = await running(body, own);
    if (found.other !== own) return found;
    await fetch(`${own.url}/v1/invocations/${found.id}/cancel`, { method: "POST" });
  }
}

/** Returns what was printed, as events tell it. */
function printedIn(events: readonly ReceivedEvent[]): string {
  const printed = events.flatMap(({ event, data }) =>
    event === "log" ? (data as { entries: LogEntry[] }).entries : [],
  );
  return printed.map(({ text }) => text).join("");
}
