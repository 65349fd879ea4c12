import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Invocation, LogEntry } from "../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { allEvents } from "../../support/events.ts";
import { fixture } from "../../support/images.ts";
import { expectWithin, eventually } from "../../support/pace.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { Cluster, LONG_MS } from "./support/cluster.ts";

let cluster: Cluster;
let a: SpawnedServer;
let b: SpawnedServer;
let fn: Function;

beforeAll(async () => {
  cluster = await Cluster.start();
  [a, b] = await Promise.all([cluster.server("a"), cluster.server("b")]);
  fn = await a.createFunction(await fixture("chaos"), { timeout_ms: 60_000 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** Submits work that prints something, and returns its id and the server that does not run it, once it has printed. */
async function running(body: object): Promise<{ readonly id: string; readonly other: SpawnedServer }> {
  const id = await cluster.submitted(a, fn, body);
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

test("?wait= on another server answers within moments of the end", async () => {
  const { id, other } = await running({ do: "sleep", ms: 1_500 });
  const response = await fetch(`${other.url}/v1/invocations/${id}?wait=60s`);
  const answered = Date.now();
  const { data } = (await response.json()) as { data: Invocation }; // an envelope
  expect(data.status).toBe("succeeded");
  await expectWithin(answered - Date.parse(data.finished_at ?? ""), 1_000);
});

test("max_concurrency counts the calls of all servers, synchronous and asynchronous ones", async () => {
  const two = await a.createFunction(await fixture("chaos"), { max_concurrency: 2 });
  expect(await eventually(async () => (await b.invoke(two, {})).status === 200, LONG_MS)).toBe(true);
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

test("events on another server: the states, what was printed, and the end", async () => {
  const { id, other } = await running({ do: "sleep", ms: 1_500 });
  const events = await allEvents(await fetch(`${other.url}/v1/invocations/${id}/events`));
  const states = events.flatMap(({ event, data }) => (event === "state" ? [(data as Invocation).status] : []));
  expect(states).toEqual(["running", "succeeded"]);
  const printed = events.flatMap(({ event, data }) =>
    event === "log" ? (data as { entries: LogEntry[] }).entries : [],
  );
  expect(printed.map(({ text }) => text).join("")).toBe("sleeping\n");
  expect(events.at(-1)?.event).toBe("end");
});
