import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { NewKey } from "../../../lib/domain/keys.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { fixture } from "../../support/images.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { type PrivatePostgres, startPostgres } from "../../support/postgres/private-postgres.ts";
import { type Registry, startRegistry } from "../../support/registry/registry.ts";
import { Diary } from "../faults/support/diary.ts";
import { figuresOf, problemsOf } from "../faults/support/history-check.ts";
import { createHistoryFunctions, OrderBook } from "../faults/support/orders.ts";
import { Submitter } from "../faults/support/submitter.ts";
import { ClusterNode, DATABASE } from "./support/cluster-node.ts";
import { FAULTS, Faults } from "./support/faults.ts";
import { seeded } from "./support/random.ts";
import { readClusterHistory, workLeft } from "./support/read-history.ts";

/** `HISTORY=cluster` is the long run: ten minutes. */
const FULL = process.env["HISTORY"] === "cluster";
const ACKNOWLEDGED = FULL ? 2_000 : 100;
/** The average time between two faults, in milliseconds, and the part of them that outlasts a lease. */
const { every: FAULT_EVERY_MS, long: LONG } = FULL ? { every: 2_000, long: 0.3 } : { every: 1_000, long: 0 };
const CLIENTS = FULL ? 16 : 8;
const PAUSE_MS = FULL ? 500 : 400;
const TIMEOUT_MS = FULL ? 1_800_000 : 180_000;
/** Names the order of faults; a run prints its own. */
const SEED = Number(process.env["HISTORY_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

let postgres: PrivatePostgres;
let registry: Registry;
/** In the registry: one that an engine alone has is refused if other servers have other engines. */
let image: string;
let diary: Diary;
let book: OrderBook;
const nodes: ClusterNode[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.run(`create database ${DATABASE}`);
  registry = await startRegistry();
  image = (await registry.push(await fixture("chaos"), "team/chaos:1")).reference;
  diary = new Diary();
  nodes.push(...(await Promise.all(["a", "b", "c"].map((id) => ClusterNode.create(id, postgres, image)))));
  await Promise.all(nodes.map((node) => node.start()));
  for (const { server } of nodes) {
    expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200, 20_000)).toBe(true);
  }
  const [{ server }] = nodes as [ClusterNode, ...ClusterNode[]]; // three, above
  book = new OrderBook(await createHistoryFunctions(server, image), diary, seeded(SEED));
});

afterAll(async () => {
  for (const node of nodes) await node[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  diary[Symbol.dispose]();
});

/** Makes orders until so many are acknowledged. */
function* ordersUntil(submitter: Submitter, count: number) {
  for (let tag = 0; submitter.acknowledged.size < count; tag++) yield book.order(tag);
}

test("a change at one server is in force within a second at another one, with an engine of its own", async () => {
  const [first, second] = nodes as [ClusterNode, ClusterNode]; // three, above
  const access = { AUTH: "on", API_KEY: "k".repeat(32) };
  await using here = await first.another("here", access);
  await using there = await second.another("there", access);
  const send = (url: string, method: string, path: string, body?: object, key = access.API_KEY) =>
    fetch(url + path, {
      method,
      headers: { Authorization: `Bearer ${key}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  const change = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const response = await send(here.url, method, path, body);
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return ((await response.json()) as { data: T }).data; // an envelope
  };
  const withinASecond = async (path: string, status: number, key?: string) => {
    const changed = performance.now();
    let sent = changed;
    const holds = async () => {
      sent = performance.now();
      return (await send(there.url, "POST", path, {}, key)).status === status;
    };
    expect(await eventually(holds)).toBe(true);
    await expectWithin(sent - changed, 1_000);
  };
  const fn = await change<Function>("POST", "/v1/functions", { image, network: "none" });
  const call = `/v1/functions/${fn.id}/invoke`;
  await withinASecond(call, 200);
  const route = await change<Route>("POST", "/v1/routes", { path: "/changes", function_id: fn.id });
  await withinASecond("/r/changes", 200);
  await change("PATCH", `/v1/routes/${route.id}`, { path: "/changed" });
  await withinASecond("/r/changed", 200);
  await withinASecond("/r/changes", 404);
  const { id, token } = await change<NewKey>("POST", "/v1/keys", { name: "caller", scopes: ["invoke"] });
  await withinASecond(call, 200, token);
  await change("DELETE", `/v1/keys/${id}`);
  await withinASecond(call, 401, token);
  await change("DELETE", `/v1/functions/${fn.id}?cascade=true`);
  await withinASecond(call, 404);
});

test(
  `${ACKNOWLEDGED} acknowledged submissions; three servers, their engines, PostgreSQL and the network fail: all promises are kept`,
  async () => {
    console.log(`HISTORY_SEED=${SEED}`);
    const began = performance.now();
    const submitter = new Submitter({ patience_ms: 15_000, unclear: [503] });
    for (const { server } of nodes) submitter.online(server.url);
    const random = seeded(SEED + 1);
    const faults = new Faults({ nodes, postgres, submitter, random, long: LONG });
    const submitted = submitter.run(ordersUntil(submitter, ACKNOWLEDGED), CLIENTS, PAUSE_MS);
    // Each at least once.
    for (const fault of FAULTS) {
      while (!faults.begin(fault)) await Bun.sleep(FAULT_EVERY_MS);
      await Bun.sleep(2 * random() * FAULT_EVERY_MS);
    }
    while (submitter.acknowledged.size < ACKNOWLEDGED) {
      faults.begin();
      await Bun.sleep(2 * random() * FAULT_EVERY_MS);
    }
    await submitted;
    await faults.over();
    console.log(
      `${submitter.acknowledged.size} acknowledged after ${Math.round((performance.now() - began) / 1000)} s`,
    );
    const url = postgres.url(DATABASE);
    expect(await eventually(async () => (await workLeft(url)) === 0, 120_000)).toBe(true);
    console.log(`nothing left after ${Math.round((performance.now() - began) / 1000)} s`);
    for (const { server } of nodes) server.kill("SIGTERM");
    for (const { server } of nodes) {
      const code = await server.exited;
      expect({ code, log: code === 0 ? [] : server.log.slice(-10) }).toEqual({ code: 0, log: [] });
    }
    const kept = await readClusterHistory(url);
    console.log(
      JSON.stringify({
        ...figuresOf(kept, submitter, diary),
        faults: faults.counts,
        longer_than_a_lease: faults.outlasting,
        seconds: Math.round((performance.now() - began) / 1000),
      }),
    );
    expect(submitter.refusals).toEqual([]);
    expect(problemsOf(kept, submitter, diary)).toEqual([]);
    for (const { engine } of nodes) {
      await eventually(async () => (await ownedContainers(engine.client)).length === 0, 20_000);
      expect(await ownedContainers(engine.client)).toEqual([]);
    }
  },
  TIMEOUT_MS,
);
