import { afterAll, beforeAll, expect, test } from "bun:test";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { containersOf, pool } from "../pool/pools.ts";
import { call, register, type Said } from "./pooled-app.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start({ WARM_MAX: "3" });
});

afterAll(() => server[Symbol.asyncDispose]());

test("an instance of a function with max_calls 0 serves one call after the other", async () => {
  await using fn = await register(server, { max_calls: 0 });
  const first = await call(server, fn);
  const second = await call(server, fn);
  expect([first.call, second]).toEqual([1, { ...first, call: 2 }]);
});

test("what a server prints after its answer is in the log of its call, although its limit keeps it from running for long", async () => {
  // It gets 20 ms of every 100 ms, and needs 60 ms.
  await using fn = await register(server, { warm_max: 0, cpus: 0.2, boot_timeout_ms: 60_000 });
  const response = await server.invoke(fn, { work: 60 });
  expect([response.status, await response.text()]).toEqual([200, expect.stringContaining('"id"')]);
  const id = response.headers.get("x-request-id") ?? "";
  const worked = async () => (await server.logs(id)).entries.some(({ text }) => text.includes("worked"));
  expect(await eventually(worked)).toBe(true);
});

test("an instance is replaced after max_calls calls", async () => {
  await using fn = await register(server, { max_calls: 2, warm_min: 1, warm_max: 1 });
  const said: Said[] = [];
  for (let count = 0; count < 4; count++) {
    // The one of the call before is back, or its successor is there.
    await pool(server, fn, ({ ready, busy }) => busy === 0 && ready === 1);
    said.push(await call(server, fn));
  }
  expect(said.map((one) => one.call)).toEqual([1, 2, 1, 2]);
  expect(new Set(said.map(({ id }) => id)).size).toBe(2);
});

test("32 calls are served by one instance at the same time, and the pool shows them", async () => {
  await using fn = await register(server, { max_calls: 0, concurrency: 32, warm_max: 1 });
  const early = Array.from({ length: 31 }, () => call(server, fn, { hold: 32 }));
  const state = await pool(server, fn, ({ streams }) => streams === 31);
  expect(state).toMatchObject({ busy: 1, ready: 0, booting: 0 });
  const said = await Promise.all([...early, call(server, fn)]);
  expect(new Set(said.map(({ id }) => id)).size).toBe(1);
  expect(said.map((one) => one.call).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 32 }, (_, at) => at + 1));
  await pool(server, fn, ({ ready, streams }) => ready === 1 && streams === 0);
  expect(await containersOf(fn)).toHaveLength(1);
});

test("a deploy under load fails no call: those under way end in the old instance, later ones get the new", async () => {
  const settings = { max_calls: 0, concurrency: 8, warm_max: 1, environment: { RELEASE: "1" } };
  await using fn = await register(server, settings);
  // Two calls stay in the old instance until a third comes to it.
  const held = [call(server, fn, { hold: 3 }), call(server, fn, { hold: 3 })];
  await pool(server, fn, ({ streams }) => streams === 2);
  const over = new AbortController();
  const load = async () => {
    const statuses: number[] = [];
    while (!over.signal.aborted) {
      const response = await server.invoke(fn);
      await response.text();
      statuses.push(response.status);
    }
    return statuses;
  };
  const callers = Array.from({ length: 4 }, load);
  const change = { environment: { RELEASE: "2" } };
  const changed = await server.api<{ warnings?: string[] }>("PATCH", `/v1/functions/${fn.id}`, change);
  expect([changed.status, changed.body.data.warnings]).toEqual([200, undefined]);
  expect((await call(server, fn)).release).toBe("2");
  over.abort();
  const statuses = (await Promise.all(callers)).flat();
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
  // The load of four has released them in the old instance.
  expect((await Promise.all(held)).map(({ release }) => release)).toEqual(["1", "1"]);
  expect(await eventually(async () => (await containersOf(fn)).length === 1, 10_000)).toBe(true);
});

test("a rotated secret is in the next call, and a call under way ends as it began", async () => {
  const secrets = [{ name: "pool-token", environment: "TOKEN" }];
  await server.api("PUT", "/v1/secrets/pool-token", { value: "first-value" });
  await using fn = await register(server, { max_calls: 0, concurrency: 4, warm_max: 1, secrets });
  const before = await call(server, fn);
  const caller = new AbortController();
  const held = server.invoke(fn, { hold: 2 }, { signal: caller.signal });
  await pool(server, fn, ({ streams }) => streams === 1);
  await server.api("PUT", "/v1/secrets/pool-token", { value: "second-value" });
  expect(await call(server, fn)).toMatchObject({ token: "second-value", call: 1 });
  // The call that the old instance has goes on: it gets no other that could release this one.
  const state = await pool(server, fn, ({ streams }) => streams === 1);
  expect([before.token, state]).toEqual(["first-value", expect.objectContaining({ ready: 1, busy: 1 })]);
  expect(await containersOf(fn)).toHaveLength(2);
  caller.abort();
  expect(await held.catch(() => "gone")).toBe("gone");
  expect(await eventually(async () => (await containersOf(fn)).length === 1, 10_000)).toBe(true);
  // The same value again renews nothing.
  const { id } = await call(server, fn);
  await server.api("PUT", "/v1/secrets/pool-token", { value: "second-value" });
  expect((await call(server, fn)).id).toBe(id);
});
