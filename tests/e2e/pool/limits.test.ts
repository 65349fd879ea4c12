import { beforeAll, describe, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { expectWithin } from "../../support/pace.ts";
import { containersOf, full, isWarm, pool, startOf, timingOf, warmServer } from "./pools.ts";

const MIB = 1024 * 1024;
/** The time that a refusal may take, in milliseconds, with twenty of them in a row: callers are promised 50. */
const REFUSAL_MS = 1_000;

let image: string;

beforeAll(async () => {
  image = await fixture("chaos");
});

/** Makes a call that is refused; returns how long that took, in milliseconds, the status and the advice. */
async function refusal(call: () => Promise<Response>): Promise<{ ms: number; status: number; retry: number }> {
  const asked = performance.now();
  const response = await call();
  await response.text();
  return {
    ms: performance.now() - asked,
    status: response.status,
    retry: Number(response.headers.get("retry-after")),
  };
}

describe("limits", () => {
  test("max_concurrency holds, and calls beyond the queue get 429 with Retry-After", async () => {
    await using server = await warmServer({ FUNCTION_QUEUE_LIMIT: "2" });
    const fn = await server.createFunction(image, { max_concurrency: 1, max_calls: 0, warm_max: 1 });
    const responses = await Promise.all(Array.from({ length: 6 }, () => server.invoke(fn, { do: "sleep", ms: 300 })));
    expect(responses.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 200, 429, 429, 429]);
    const refused = responses.find(({ status }) => status === 429);
    expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await refused?.json()).toMatchObject({ success: false, reason: "too_many_requests" });
    // By Server-Timing each of the others waited for those before it.
    const waits = responses.filter(({ status }) => status === 200).map((response) => timingOf(response).queue);
    const [none = 0, one = 0, two = 0] = waits.toSorted((a, b) => a - b);
    expect([none < 250, one > 250, two > 550]).toEqual([true, true, true]);
  });

  test.each([
    [429, { FUNCTION_QUEUE_LIMIT: "1" }, { max_concurrency: 1 }],
    [503, { QUEUE_LIMIT: "1", MAX_INSTANCES: "1" }, {}],
  ])("calls beyond a full queue get %d with Retry-After at once", async (expected, variables, settings) => {
    await using server = await warmServer(variables);
    const fn = await server.createFunction(image, settings);
    await pool(server, fn, isWarm);
    const caller = new AbortController();
    const sleep = () => server.invoke(fn, { do: "sleep" }, { signal: caller.signal }).catch(() => undefined);
    const calls = [sleep(), sleep()];
    const queued = async () =>
      (await (await fetch(`${server.url}/metrics`)).text()).includes("slipway_queued_calls 1\n");
    while (!(await queued())) await Bun.sleep(5);
    const refusals = [];
    for (let i = 0; i < 20; i++) refusals.push(await refusal(() => server.invoke(fn, { do: "exit" })));
    for (const { ms, status, retry } of refusals) {
      expect(status).toBe(expected);
      expect(retry).toBeWithin(1, 61);
      await expectWithin(ms, REFUSAL_MS);
    }
    caller.abort();
    await Promise.all(calls);
  });

  test("MEMORY_BUDGET limits the instances, and calls of a function beyond it fail with a message", async () => {
    await using server = await warmServer({ MEMORY_BUDGET: "256MiB" });
    const fn = await server.createFunction(image, { memory_bytes: 128 * MIB, warm_min: 5 });
    await full(server, fn, 2);
    expect((await containersOf(fn)).length).toBe(2);
    const statuses = await Promise.all(
      Array.from({ length: 5 }, async () => (await server.invoke(fn, { do: "exit" })).status),
    );
    expect(statuses).toEqual([200, 200, 200, 200, 200]);
    const big = await server.createFunction(image, { memory_bytes: 512 * MIB });
    expect(await (await server.invoke(big, "")).json()).toMatchObject({ reason: "overloaded" });
  });

  test("MAX_INSTANCES 2: the least recently called pool makes room", async () => {
    await using server = await warmServer({ MAX_INSTANCES: "2" });
    const first = await server.createFunction(image);
    const second = await server.createFunction(image);
    await full(server, first, 1);
    await full(server, second, 1);
    // Now the second is the least recently called one.
    expect(startOf(await server.invoke(first, { do: "exit" }))).toBe("warm");
    await full(server, first, 1);
    const third = await server.createFunction(image);
    expect(startOf(await server.invoke(third, { do: "exit" }))).toBe("cold");
    await pool(server, second, ({ ready }) => ready === 0);
    expect(startOf(await server.invoke(first, { do: "exit" }))).toBe("warm");
    for (const fn of [first, second, third]) expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
  });
});
