import { beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { containersBecome, containersOf, environmentOf, full, isWarm, pool, startOf, warmServer } from "./pools.ts";

const MIB = 1024 * 1024;

let engine: Engine;
let image: string;

beforeAll(async () => {
  engine = await acquireEngine();
  image = await fixture("chaos");
});

describe("a pool", () => {
  test("makes the first call after the registration warm, in an unused container", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image);
    const hosts = new Set<string>();
    for (let i = 0; i < 3; i++) {
      await pool(server, fn, isWarm);
      const response = await server.invoke(fn, { do: "env" });
      expect(startOf(response)).toBe("warm");
      hosts.add((await environmentOf(response))["HOSTNAME"] ?? "");
    }
    expect(hosts.size).toBe(3);
  });

  test("with warm_max 0 keeps nothing ready", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { warm_max: 0 });
    const response = await server.invoke(fn, { do: "exit" });
    expect(startOf(response)).toBe("cold");
    expect(await pool(server, fn, ({ busy }) => busy === 0)).toEqual({ ready: 0, starting: 0, busy: 0, target: 0 });
  });

  test("removes a deleted function's instances and their network holder", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { warm_min: 2, share_network: true });
    await full(server, fn, 2);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
    await containersBecome(0, fn);
  });

  test("shrinks to warm_min after idle_ttl_ms without calls", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image);
    await pool(server, fn, isWarm);
    // Not before: on a slow machine an instance takes longer than this to start.
    await server.api("PATCH", `/v1/functions/${fn.id}`, { idle_ttl_ms: 1_000 });
    await pool(server, fn, ({ ready, target }) => ready === 0 && target === 0);
    await containersBecome(0, fn);
  });

  // A function for each: containers of earlier calls may still be going away.
  test.each([
    ["kill", "POST", "/kill"],
    ["stop", "POST", "/stop?t=5"],
    ["remove", "DELETE", "?force=1"],
  ])("fails no call when others %s its ready instances, and refills", async (_, method, how) => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { warm_min: 2 });
    await full(server, fn, 2);
    const ready = await containersOf(fn);
    expect(ready).toHaveLength(2);
    await Promise.all(ready.map((id) => engine.client.request(method, `/containers/${id}${how}`)));
    const calls = await Promise.all(ready.map(() => server.invoke(fn, { do: "env" })));
    for (const call of calls) expect(ready.join()).not.toContain((await environmentOf(call))["HOSTNAME"] ?? "none");
    await pool(server, fn, ({ ready: count, target }) => count === target);
  });

  test("fails no call while others kill ready instances", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { warm_min: 1, warm_max: 5 });
    // One before the others, so that the oldest is not used first.
    await full(server, fn, 1);
    await server.api("PATCH", `/v1/functions/${fn.id}`, { warm_min: 5 });
    for (let round = 0; round < 2; round++) {
      await full(server, fn, 5);
      await containersBecome(5, fn);
      // The newest are used first; containers are listed in that order.
      const oldest = (await containersOf(fn)).at(-1);
      const [, ...calls] = await Promise.all([
        engine.client.request("POST", `/containers/${oldest}/kill`),
        ...[1, 2].map(() => server.invoke(fn, { do: "exit" })),
      ]);
      expect(calls.map((call) => [call.status, startOf(call)])).toEqual([
        [200, "warm"],
        [200, "warm"],
      ]);
    }
  });

  test("needs no engine request during a call: it is answered while the engine hangs", async () => {
    await using proxy = await EngineProxy.start(engine.socket);
    await using server = await warmServer({ DOCKER_HOST: proxy.host });
    const fn = await server.createFunction(image, { warm_min: 3 });
    await full(server, fn, 3);
    const ready = await containersOf(fn);
    const asked: string[] = [];
    proxy.change(({ method, path }) => (asked.push(`${method} ${path}`), "hang"));
    for (let i = 0; i < 3; i++) {
      const response = await server.invoke(fn, { do: "echo", i });
      expect([await response.text(), startOf(response)]).toEqual([JSON.stringify({ do: "echo", i }), "warm"]);
    }
    // Requests are only for new instances and the heartbeat, none for the instances that were called.
    for (const id of ready) expect(asked.join()).not.toContain(id);
    proxy.use("pass");
  });

  test("answers before the container is gone", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { warm_min: 5 });
    await full(server, fn, 5);
    let there = 0;
    for (let i = 0; i < 5; i++) {
      const { HOSTNAME } = await environmentOf(await server.invoke(fn, { do: "env" }));
      const seen = await engine.client.request("GET", `/containers/${HOSTNAME}/json`).catch(() => undefined);
      if (seen !== undefined) there++;
    }
    // If the machine pauses us after an answer, one may be gone already.
    expect(there).toBeGreaterThan(1);
  });
});

describe("a change of settings", () => {
  test("under load is seen by the next call and fails no call", async () => {
    const other = await fixture("static");
    await using server = await warmServer();
    const fn = await server.createFunction(image, { environment: { VERSION: "0" } });
    await pool(server, fn, isWarm);
    const changing = new AbortController();
    const statuses = new Map<number, number>();
    const callers = Array.from({ length: 3 }, async () => {
      while (!changing.signal.aborted) {
        const { status } = await server.invoke(fn, { do: "exit" });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    const changes: Partial<Function>[] = [
      { memory_bytes: 64 * MIB },
      { share_network: true },
      { max_calls: 0 },
      { image: other },
      { share_network: false, warm_max: 1 },
      { max_calls: 1, warm_max: 0, max_concurrency: 2, timeout_ms: 20_000 },
      { read_only: true, warm_max: 3, image },
    ];
    for (const [version, change] of changes.entries()) {
      const environment = { VERSION: String(version + 1) };
      const { status } = await server.api("PATCH", `/v1/functions/${fn.id}`, { ...change, environment });
      expect(status).toBe(200);
      // A call that begins after the change sees it.
      const seen = await environmentOf(await server.invoke(fn, { do: "env" }));
      expect(seen["VERSION"]).toBe(environment.VERSION);
    }
    changing.abort();
    await Promise.all(callers);
    expect([...statuses.keys()]).toEqual([200]);
  });
});
