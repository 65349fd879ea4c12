import { Database as Sqlite } from "bun:sqlite";
import { beforeAll, describe, expect, test } from "bun:test";
import type { Function, FunctionWithPool } from "../../../lib/domain/functions/functions.ts";
import type { RouteOptions } from "../../../lib/domain/routes/options.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import type { FunctionVersion } from "../../../lib/domain/functions/versions.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { containersBecome, environmentOf, isWarm, pool, startOf, warmServer } from "../pool/pools.ts";
import { eventually } from "../../support/pace.ts";

let image: string;
let other: string;

beforeAll(async () => {
  image = await fixture("chaos");
  other = await fixture("static");
});

async function change(server: TestServer, fn: Pick<Function, "id">, body: object): Promise<Function> {
  return expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${fn.id}`, body));
}

async function rollback(server: TestServer, fn: Pick<Function, "id">, version: number): Promise<Function> {
  return expectSuccess(await server.api<Function>("POST", `/v1/functions/${fn.id}/rollback`, { version }));
}

async function shown(server: TestServer, fn: Pick<Function, "id">): Promise<FunctionWithPool> {
  return expectSuccess(await server.api<FunctionWithPool>("GET", `/v1/functions/${fn.id}`));
}

async function route(
  server: TestServer,
  fn: Pick<Function, "id">,
  options: Partial<RouteOptions>,
  path = "/app",
): Promise<Route> {
  return expectSuccess(await server.api<Route>("POST", "/v1/routes", { path, function_id: fn.id, ...options }));
}

function call(server: TestServer, headers: Record<string, string> = {}, path = "/app"): Promise<Response> {
  return fetch(`${server.url}/r${path}`, { method: "POST", headers, body: JSON.stringify({ do: "env" }) });
}

/** Returns the version that the function reports. */
async function stepOf(response: Response): Promise<string | undefined> {
  return (await environmentOf(response))["STEP"];
}

describe("a rollback", () => {
  test("under load is seen by the next call, fails no call, and never mixes two versions in one call", async () => {
    await using server = await warmServer();
    for (const step of ["1", "2"]) await server.api("PUT", `/v1/secrets/step-${step}`, { value: `secret ${step}` });
    const settingsOf = (step: string) => ({
      environment: { STEP: step },
      secrets: [{ name: `step-${step}`, environment: "SECRET" }],
      // Half of the engine's work for a container is its network.
      network: "none",
    });
    const fn = await server.createFunction(image, settingsOf("1"));
    await change(server, fn, { ...settingsOf("2"), image: other, max_calls: 0 });
    await pool(server, fn, isWarm);
    const over = new AbortController();
    const wrong: unknown[] = [];
    const done = { calls: 0 };
    const callers = Array.from({ length: 3 }, async () => {
      while (!over.signal.aborted) {
        const response = await server.invoke(fn, { do: "env" });
        const environment = response.status === 200 ? await environmentOf(response) : { said: await response.text() };
        done.calls++;
        // The secret is not masked here: it is the answer.
        if (environment["SECRET"] !== `secret ${environment["STEP"]}`) wrong.push([response.status, environment]);
      }
    });
    for (const [version, step] of [
      [1, "1"],
      [2, "2"],
      [3, "1"],
    ] as const) {
      const enough = done.calls + 5;
      await rollback(server, fn, version);
      expect(await stepOf(await server.invoke(fn, { do: "env" }))).toBe(step);
      while (done.calls < enough) await server.invoke(fn, { do: "exit" });
    }
    over.abort();
    await Promise.all(callers);
    expect(wrong).toEqual([]);
    expect((await shown(server, fn)).version).toBe(5);
  });
});

describe("a route that names a version", () => {
  test("runs it from instances of its own, whatever the current version is", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { environment: { STEP: "1" } });
    await route(server, fn, { version: 1 });
    await route(server, fn, {}, "/latest");
    await change(server, fn, { environment: { STEP: "2" }, max_concurrency: 7 });
    const ready = async () => {
      const { pool, version_pools } = await shown(server, fn);
      return [pool.ready, ...version_pools.map(({ version, ready }) => `${version}: ${ready}`)].join();
    };
    await pool(server, fn, isWarm);
    while ((await ready()) !== "1,1: 1") await Bun.sleep(20);
    for (let round = 0; round < 2; round++) {
      const [pinned, latest] = await Promise.all([call(server), call(server, {}, "/latest")]);
      if (round === 0) expect([startOf(pinned), startOf(latest)]).toEqual(["warm", "warm"]);
      expect([await stepOf(pinned), await stepOf(latest)]).toEqual(["1", "2"]);
    }
  });

  test("leaves no instances of the version when it follows the function again", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { environment: { STEP: "1" } });
    const { id } = await route(server, fn, { version: 1 });
    await change(server, fn, { environment: { STEP: "2" }, warm_max: 0 });
    expect(await stepOf(await call(server))).toBe("1");
    await server.api("PATCH", `/v1/routes/${id}`, { version: null });
    expect(await stepOf(await call(server))).toBe("2");
    await containersBecome(0, fn);
    await eventually(async () => (await shown(server, fn)).version_pools.length === 0);
    expect((await shown(server, fn)).version_pools).toEqual([]);
  });

  test("keeps as many instances ready as the version's settings say, also after a restart", async () => {
    await using first = await warmServer();
    const fn = await first.createFunction(image, { environment: { STEP: "1" }, warm_min: 2 });
    await route(first, fn, { version: 1 });
    await change(first, fn, { environment: { STEP: "2" }, warm_min: 0 });
    await first.stop(0);
    await using server = await warmServer({ DATA_PATH: first.dataPath });
    const versions = async () => (await shown(server, fn)).version_pools.map(({ version, ready }) => [version, ready]);
    await eventually(async () => (await versions())[0]?.[1] === 2, 20_000);
    expect(await versions()).toEqual([[1, 2]]);
    expect(startOf(await call(server))).toBe("warm");
  });

  test("counts its calls with those of other versions towards max_concurrency", async () => {
    await using server = await TestServer.start({ FUNCTION_QUEUE_LIMIT: "0" });
    const fn = await server.createFunction(image, { environment: { STEP: "1" } });
    await route(server, fn, { version: 1 });
    await change(server, fn, { environment: { STEP: "2" }, max_concurrency: 1 });
    const sleeping = new AbortController();
    const long = server.invoke(fn, { do: "sleep", ms: 20_000 }, { signal: sleeping.signal }).catch(() => undefined);
    while ((await shown(server, fn)).pool.busy === 0) await Bun.sleep(20);
    expect((await call(server)).status).toBe(429);
    sleeping.abort();
    await long;
  });
});

describe("a route that splits its calls", () => {
  test("sends equal header values to the same version, and about the right percentage to each", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { environment: { STEP: "1" }, max_calls: 0 });
    await change(server, fn, { environment: { STEP: "2" } });
    const split = { version: 1, percent: 50, sticky_header: "X-User" };
    const { id } = await route(server, fn, { split });
    const users = Array.from({ length: 12 }, (_, i) => `user-${i}`);
    const sides = async () => {
      const steps: [string, string | undefined][] = [];
      for (const user of users) steps.push([user, await stepOf(await call(server, { "x-user": user }))]);
      return new Map(steps);
    };
    const half = await sides();
    expect(new Set(half.values())).toEqual(new Set(["1", "2"]));
    expect(await sides()).toEqual(half);
    await server.api("PATCH", `/v1/routes/${id}`, { split: { ...split, percent: 80 } });
    const most = await sides();
    for (const [user, step] of half) if (step === "1") expect([user, most.get(user)]).toEqual([user, "1"]);
    await server.api("PATCH", `/v1/routes/${id}`, { split: { ...split, percent: 100, sticky_header: null } });
    expect([...new Set((await sides()).values())]).toEqual(["1"]);
    await server.api("PATCH", `/v1/routes/${id}`, { split: { ...split, percent: 0 }, version: 2 });
    expect([...new Set((await sides()).values())]).toEqual(["2"]);
  });
});

test("the unknown image of a version in an older database is resolved when it is called or rolled back to", async () => {
  await using first = await TestServer.start();
  const fn = await first.createFunction(image, { environment: { STEP: "1" } });
  await route(first, fn, { version: 1 });
  await first.stop(0);
  const database = new Sqlite(`${first.dataPath}/database.db`);
  database.run("update functions set image_id = null");
  database.run("update versions set image_id = null, record = json_set(record, '$.image_id', null)");
  database.close();
  await using server = await TestServer.start({ DATA_PATH: first.dataPath });
  expect((await change(server, fn, { image: other, environment: { STEP: "2" } })).version).toBe(2);
  expect(await stepOf(await call(server))).toBe("1");
  const version = await server.api<FunctionVersion>("GET", `/v1/functions/${fn.id}/versions/1`);
  expect(expectSuccess(version).image_id).toBe(fn.image_id);
  expect(await shown(server, fn)).toMatchObject({ version: 2, image: other });
  expect(await rollback(server, fn, 1)).toMatchObject({ version: 3, image_id: fn.image_id });
});
