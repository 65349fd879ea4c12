import { beforeAll, describe, expect, test } from "bun:test";
import type { Function, PoolState } from "../../lib/domain/functions.ts";
import { acquireEngine, type Engine } from "../support/engine.ts";
import { fixture } from "../support/images.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import { TestServer } from "../support/server.ts";

const MIB = 1024 * 1024;
const LONG_MS = 180_000;

let engine: Engine;
let image: string;

beforeAll(async () => {
  engine = await acquireEngine();
  image = await fixture("chaos");
});

/** Waits until a function's pool is as wanted. */
async function pool(
  server: TestServer,
  fn: Pick<Function, "id">,
  wanted: (state: PoolState) => boolean,
): Promise<PoolState> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const { body } = await server.api<{ pool: PoolState }>("GET", `/v1/functions/${fn.id}`);
    const state = body.data.pool;
    if (wanted(state)) return state;
    if (performance.now() > deadline) throw new Error(`The pool is ${JSON.stringify(state)} after 20 s`);
    await Bun.sleep(20);
  }
}

const isWarm = ({ ready, starting }: PoolState) => ready > 0 && starting === 0;

/** How the caller's instance was had: cold or warm. */
function startOf(response: Response): string | undefined {
  return /start;dur=[\d.]+;desc=(\w+)/.exec(response.headers.get("server-timing") ?? "")?.[1];
}

async function environmentOf(response: Response): Promise<Record<string, string>> {
  expect(response.status).toBe(200);
  const seen = (await response.json()) as { environment: Record<string, string> }; // the fixture's answer
  return seen.environment;
}

/** A server that keeps instances ready; one for each test, which takes them along at its end. */
function warmServer(variables: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  return TestServer.start({ WARM_MAX: "100", ...variables });
}

describe("a pool", () => {
  test("makes the first call after the registration a warm one, in a container that served no other", async () => {
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

  test("lets go of a deleted function's instances", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { warm_min: 2 });
    await pool(server, fn, ({ ready }) => ready === 2);
    await server.api("DELETE", `/v1/functions/${fn.id}`);
    await gone(fn);
  });

  test("shrinks to warm_min when nobody has called for idle_ttl_ms", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { idle_ttl_ms: 1_000 });
    await pool(server, fn, isWarm);
    await pool(server, fn, ({ ready, target }) => ready === 0 && target === 0);
    await gone(fn);
  });

  // A function for each: containers of earlier calls may still be on their way out.
  test.each(["kill", "rm -f"])(
    "survives `docker %s` of an instance that is ready: the next call works",
    async (how) => {
      await using server = await warmServer();
      const fn = await server.createFunction(image);
      await pool(server, fn, isWarm);
      const ready = await containersOf(fn);
      expect(ready.length).toBe(1);
      await engine.docker(...how.split(" "), ...ready);
      expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
    },
  );

  test("follows a change of settings under load, and no call fails", async () => {
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
    for (let version = 1; version <= 5; version++) {
      const { status } = await server.api("PATCH", `/v1/functions/${fn.id}`, {
        environment: { VERSION: String(version) },
      });
      expect(status).toBe(200);
      // A call that begins after the change sees it.
      expect((await environmentOf(await server.invoke(fn, { do: "env" })))["VERSION"]).toBe(String(version));
    }
    changing.abort();
    await Promise.all(callers);
    expect([...statuses.keys()]).toEqual([200]);
  });

  test(
    "answers 200 calls at once",
    async () => {
      await using server = await warmServer();
      const fn = await server.createFunction(image, { share_network: true });
      await pool(server, fn, isWarm);
      const statuses = await Promise.all(
        Array.from({ length: 200 }, async () => (await server.invoke(fn, { do: "exit" })).status),
      );
      expect(statuses.filter((status) => status === 200).length).toBe(200);
    },
    LONG_MS,
  );
});

describe("reuse", () => {
  test("max_calls 3 gives three calls the same container, and the fourth another", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 3, warm_max: 1 });
    const hosts: string[] = [];
    for (let i = 0; i < 6; i++) {
      await pool(server, fn, isWarm);
      hosts.push((await environmentOf(await server.invoke(fn, { do: "env" })))["HOSTNAME"] ?? "");
    }
    expect(new Set(hosts.slice(0, 3)).size).toBe(1);
    expect(new Set(hosts.slice(3)).size).toBe(1);
    expect(hosts[0]).not.toBe(hosts[3]);
  });

  test("a call finds nothing of the one before in its context, in /tmp or among the processes", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, warm_max: 1 });
    await pool(server, fn, isWarm);
    for (const path of ["/tmp/left", "/tmp/context/left", "/dev/shm/left", "/left"]) {
      expect((await server.invoke(fn, { do: "write", path, bytes: 10 })).status).toBe(200);
    }
    expect((await server.invoke(fn, { do: "grandchild" })).status).toBe(200);
    const response = await server.invoke(fn, { do: "env" });
    const seen = (await response.json()) as { context: string[]; root: string[]; environment: Record<string, string> };
    expect(seen.context.toSorted()).toEqual(["request.json", "response.json"]);
    // The writable layer is what reuse keeps; read_only is against that.
    expect(seen.root).toContain("left");
    const again = await server.invoke(fn, { do: "write", path: "/tmp/context/left", bytes: 1 });
    expect(again.status).toBe(200);
  });

  test("read_only leaves a function /tmp, and no writable layer", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, read_only: true, warm_max: 1 });
    const write = async (path: string) => (await server.invoke(fn, { do: "write", path, bytes: 10 })).json();
    expect(await write("/left")).toMatchObject({ errno: "EROFS" });
    expect(await write("/tmp/left")).toMatchObject({ written: 10 });
  });

  test("asks the engine nothing", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, warm_max: 1 });
    await pool(server, fn, isWarm);
    const asked = await engineCalls(server);
    for (let i = 0; i < 20; i++) expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
    expect(await engineCalls(server)).toEqual(asked);
  });

  test("a failing call does not spoil the container, a timeout ends it", async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(image, { max_calls: 0, timeout_ms: 1_000, warm_max: 1 });
    expect((await server.invoke(fn, { do: "exit", code: 3 })).status).toBe(502);
    expect((await server.invoke(fn, { do: "signal" })).status).toBe(502);
    expect((await server.invoke(fn, { do: "sleep" })).status).toBe(504);
    expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
  });
});

describe("share_network", () => {
  test("instances of one function join one holder, those of another do not; a lost holder is replaced", async () => {
    await using server = await warmServer();
    const [one, other] = [
      await server.createFunction(image, { share_network: true, warm_min: 2 }),
      await server.createFunction(image, { share_network: true, warm_min: 1 }),
    ];
    await pool(server, one, ({ ready }) => ready === 2);
    await pool(server, other, ({ ready }) => ready === 1);
    const [mine, others] = [await networksOf(one), await networksOf(other)];
    expect(mine.joined.length).toBe(2);
    expect(new Set(mine.joined)).toEqual(new Set(mine.holders.map((id) => `container:${id}`)));
    expect(new Set([...mine.joined, ...others.joined]).size).toBe(2);
    await engine.docker("kill", ...mine.holders);
    expect((await server.invoke(one, { do: "exit" })).status).toBe(200);
    await pool(server, one, ({ ready }) => ready === 2);
    const renewed = await networksOf(one);
    expect(renewed.holders).not.toEqual(mine.holders);
    expect(new Set(renewed.joined)).toEqual(new Set(renewed.holders.map((id) => `container:${id}`)));
  });
});

describe("limits", () => {
  test("max_concurrency holds, and what is over the queue gets 429 with Retry-After", async () => {
    await using server = await warmServer({ FUNCTION_QUEUE_LIMIT: "2" });
    const fn = await server.createFunction(image, { max_concurrency: 1, max_calls: 0, warm_max: 1 });
    const responses = await Promise.all(Array.from({ length: 6 }, () => server.invoke(fn, { do: "sleep", ms: 300 })));
    expect(responses.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 200, 429, 429, 429]);
    const refused = responses.find(({ status }) => status === 429);
    expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await refused?.json()).toMatchObject({ success: false, reason: "too_many_requests" });
  });

  test("MEMORY_BUDGET: never more instances than it holds, and a function over it is told so", async () => {
    await using server = await warmServer({ MEMORY_BUDGET: "256MiB" });
    const fn = await server.createFunction(image, { memory_bytes: 128 * MIB, warm_min: 5 });
    await pool(server, fn, ({ ready, starting }) => ready === 2 && starting === 0);
    expect((await containersOf(fn)).length).toBe(2);
    const statuses = await Promise.all(
      Array.from({ length: 5 }, async () => (await server.invoke(fn, { do: "exit" })).status),
    );
    expect(statuses).toEqual([200, 200, 200, 200, 200]);
    const big = await server.createFunction(image, { memory_bytes: 512 * MIB });
    expect(await (await server.invoke(big, "")).json()).toMatchObject({ reason: "overloaded" });
  });

  test("MAX_INSTANCES 2: the pool that was called longest ago gives way", async () => {
    await using server = await warmServer({ MAX_INSTANCES: "2" });
    const functions = [
      await server.createFunction(image),
      await server.createFunction(image),
      await server.createFunction(image),
    ];
    for (const fn of [...functions, ...functions]) expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
  });
});

describe("nothing is left", () => {
  test("when a server with full pools is killed", async () => {
    await using server = await SpawnedServer.start({ WARM_MAX: "100" });
    for (let i = 0; i < 2; i++) await server.createFunction(image, { warm_min: 3, share_network: i === 0 });
    const deadline = performance.now() + 20_000;
    // Three instances each, and one holder.
    while ((await ownedIds()).length < 7 && performance.now() < deadline) await Bun.sleep(50);
    expect((await ownedIds()).length).toBe(7);
    server.kill("SIGKILL");
    await server.exited;
    while ((await ownedIds()).length > 0 && performance.now() < deadline) await Bun.sleep(50);
    expect(await ownedIds()).toEqual([]);
  });
});

async function ownedIds(): Promise<string[]> {
  return (await engine.docker("ps", "-aq", "--no-trunc", "--filter", "label=slipway.owner"))
    .split("\n")
    .filter(Boolean);
}

async function containersOf(fn: Pick<Function, "id">): Promise<string[]> {
  return (await engine.docker("ps", "-aq", "--no-trunc", "--filter", `label=slipway.function=${fn.id}`))
    .split("\n")
    .filter(Boolean);
}

async function gone(fn: Pick<Function, "id">): Promise<void> {
  const deadline = performance.now() + 5_000;
  while ((await containersOf(fn)).length > 0 && performance.now() < deadline) await Bun.sleep(50);
  expect(await containersOf(fn)).toEqual([]);
}

async function networksOf(fn: Pick<Function, "id">): Promise<{ holders: string[]; joined: string[] }> {
  const ids = await containersOf(fn);
  const modes = (await engine.docker("inspect", "--format", "{{.Id}} {{.HostConfig.NetworkMode}}", ...ids))
    .trim()
    .split("\n");
  const networks = modes.map((line) => line.split(" "));
  return {
    holders: networks.flatMap(([id = "", mode]) => (mode === "bridge" ? [id] : [])),
    joined: networks.flatMap(([, mode = ""]) => (mode === "bridge" ? [] : [mode])),
  };
}

async function engineCalls(server: TestServer): Promise<string[]> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  // The heartbeat pings on its own account.
  return text.split("\n").filter((line) => line.startsWith("slipway_engine_calls_total") && !line.includes('"ping"'));
}
