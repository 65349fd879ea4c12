import { afterAll, beforeAll, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { BlackHole } from "./support/black-hole.ts";
import { Cluster, LONG_MS } from "./support/cluster.ts";

/** The time for which PostgreSQL is away; `AWAY=full` for the long form. */
const AWAY_MS = process.env["AWAY"] === "full" ? 30_000 : 4_000;

let cluster: Cluster;
let hole: BlackHole;

beforeAll(async () => {
  cluster = await Cluster.start();
  hole = await BlackHole.start(cluster.postgres.directory);
});
afterAll(async () => {
  await hole[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

const ABSENCES = [
  ["is frozen", () => cluster.postgres.freeze(), () => cluster.postgres.thaw()],
  ["has crashed", () => cluster.postgres.kill(), () => cluster.postgres.start()],
  ["is behind a black hole", () => hole.open(), () => hole.close()],
] as const;

/** Returns the milliseconds that a request takes, and its status. */
async function timed(send: () => Promise<Response>): Promise<{ readonly ms: number; readonly status: number }> {
  const began = performance.now();
  const response = await send();
  await response.arrayBuffer();
  return { ms: performance.now() - began, status: response.status };
}

/** Returns the slowest of a hundred but one. */
function slowest(times: readonly number[]): number {
  return times.toSorted((one, other) => one - other)[Math.floor(times.length * 0.99) - 1] ?? Infinity;
}

test("PostgreSQL frozen, crashed, behind a black hole: calls go on as fast, submissions say so in time, and work again soon after", async () => {
  await using server = await cluster.server("a", { DATABASE_URL: hole.url("postgres"), WARM_MAX: "2" });
  // Reused, so that what is measured is not the start of containers.
  const fn = await server.createFunction(await fixture("chaos"), { max_calls: 0, warm_min: 1 });
  const path = `${server.url}/v1/functions/${fn.id}/invoke?async=true`;
  const call = () => timed(() => server.invoke(fn, {}));
  const submission = () => timed(() => fetch(path, { method: "POST", body: "{}" }));
  for (const [name, leave, comeBack] of ABSENCES) {
    const before: number[] = [];
    for (let i = 0; i < 50; i++) before.push((await call()).ms);
    await leave();
    const until = performance.now() + AWAY_MS;
    const refusals = [submission(), submission()];
    const [during, health]: [number[], number[]] = [[], []];
    while (performance.now() < until) {
      const { ms, status } = await call();
      expect(status).toBe(200);
      during.push(ms);
      health.push((await timed(() => fetch(`${server.url}/healthz`))).ms);
    }
    const refused = await Promise.all(refusals);
    await comeBack();
    const back = performance.now();
    expect(await eventually(async () => (await submission()).status === 202, LONG_MS)).toBe(true);
    const recovered = performance.now() - back;
    console.log(
      `${name}: p99 ${slowest(before).toFixed(0)} ms, then ${slowest(during).toFixed(0)} ms; 503 after ` +
        `${Math.max(...refused.map(({ ms }) => ms)).toFixed(0)} ms; back after ${recovered.toFixed(0)} ms`,
    );
    expect(refused.map(({ status }) => status)).toEqual([503, 503]);
    for (const { ms } of refused) await expectWithin(ms, 3_000);
    await expectWithin(recovered, 2_000);
    await expectWithin(slowest(during), 2 * slowest(before) + 20);
    await expectWithin(slowest(health), 100);
  }
  // What it has taken at last may still run.
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
}, 240_000);
