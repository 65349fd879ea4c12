import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { Diary } from "./support/diary.ts";
import { figuresOf, problemsOf, quickCheck, readHistory } from "./support/history-check.ts";
import { type KillableEngine, startKillableEngine } from "./support/killable-engine.ts";
import { createHistoryFunctions, OrderBook } from "./support/orders.ts";
import { Submitter } from "./support/submitter.ts";
import { eventually } from "../../support/pace.ts";

/** `HISTORY=full` is the long run of `lib/docs/asynchronous-calls.md`: five minutes. */
const FULL = process.env["HISTORY"] === "full";
const { orders: ORDERS, restarts: RESTARTS } = FULL ? { orders: 2_000, restarts: 20 } : { orders: 120, restarts: 4 };
const CLIENTS = 8;
/** The longest life of a server, in milliseconds: enough for most to get to their work, and for some not to. */
const LIFE_MS = 6_000;
const TIMEOUT_MS = FULL ? 600_000 : 150_000;

let engine: KillableEngine;
let directory: string;
let diary: Diary;
let book: OrderBook;

beforeAll(async () => {
  engine = await startKillableEngine();
  const image = await fixture("chaos");
  await engine.load(image);
  directory = await mkdtemp(join(tmpdir(), "slipway-history-"));
  diary = new Diary();
  await using server = await start();
  expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200, 20_000)).toBe(true);
  book = new OrderBook(await createHistoryFunctions(server, image), diary);
});

afterAll(async () => {
  diary[Symbol.dispose]();
  await engine[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

function start(): Promise<SpawnedServer> {
  return SpawnedServer.start({
    DATA_PATH: directory,
    DOCKER_HOST: engine.client.host,
    MAX_INSTANCES: "8",
    WARM_MAX: "8",
  });
}

async function left(server: SpawnedServer): Promise<number> {
  const pages = ["queued", "running"].map(async (status) => {
    const response = await fetch(`${server.url}/v1/invocations?status=${status}&limit=500`);
    return ((await response.json()) as { data: InvocationPage }).data.invocations.length; // what the API promises
  });
  return (await Promise.all(pages)).reduce((sum, count) => sum + count, 0);
}

test(
  `${ORDERS} submissions, ${RESTARTS} servers killed, the engine killed and restarted: all promises are kept`,
  async () => {
    const began = performance.now();
    const submitter = new Submitter();
    const orders = Array.from({ length: ORDERS }, (_, tag) => book.order(tag));
    const pauseMs = (CLIENTS * RESTARTS * LIFE_MS) / 2 / ORDERS;
    const submitted = submitter.run(orders, CLIENTS, pauseMs);
    const engineKilled = Math.ceil(RESTARTS / 3);
    const engineRestarted = Math.ceil((2 * RESTARTS) / 3);
    for (let restart = 1; restart <= RESTARTS; restart++) {
      await using server = await start();
      submitter.online(server.url);
      await Bun.sleep((Math.random() * LIFE_MS) / 2);
      if (restart === engineKilled) engine.kill();
      if (restart === engineRestarted) engine.restart();
      await Bun.sleep((Math.random() * LIFE_MS) / 2);
      // Every other one dies while it handles a submission.
      if (restart % 2 === 0) await submitter.nextSent(server.url, 1_000);
      await Bun.sleep(Math.random() * 8);
      submitter.offline(server.url);
      server.kill("SIGKILL");
      await server.exited;
      expect(quickCheck(directory)).toEqual([{ quick_check: "ok" }]);
    }

    await using server = await start();
    submitter.online(server.url);
    await submitted;
    expect(await eventually(async () => (await left(server)) === 0, TIMEOUT_MS / 2)).toBe(true);
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(await eventually(async () => (await ownedContainers(engine.client)).length === 0)).toBe(true);

    const kept = readHistory(directory);
    console.log(
      JSON.stringify({
        submitted: ORDERS,
        ...figuresOf(kept, submitter, diary),
        servers_killed: RESTARTS,
        seconds: Math.round((performance.now() - began) / 1000),
      }),
    );
    expect(submitter.refusals).toEqual([]);
    expect(problemsOf(kept, submitter, diary)).toEqual([]);
    expect(quickCheck(directory)).toEqual([{ quick_check: "ok" }]);
  },
  TIMEOUT_MS,
);
