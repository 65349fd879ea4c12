import { expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import type { TestServer } from "../../support/server.ts";
import { full, seenBy, startOf, warmServer } from "./pools.ts";

const CALLS = 100;
const LONG_MS = 120_000;

/** Makes all calls at once; every second one returns where it ran, the others must return their bytes. */
async function burst(server: TestServer, fn: Function): Promise<{ warm: number; containers: number }> {
  const containers = new Set<string>();
  let warm = 0;
  const calls = Array.from({ length: CALLS }, async (_, index) => {
    const body = index % 2 === 0 ? { do: "env" } : { do: "echo", index };
    const response = await server.invoke(fn, body);
    if (startOf(response) === "warm") warm++;
    if (body.do === "echo") {
      expect([response.status, await response.text()]).toEqual([200, JSON.stringify(body)]);
      return;
    }
    const { environment, mounts } = await seenBy(response);
    // The answer belongs to this call.
    expect(environment["REQUEST_ID"]).toBe(response.headers.get("x-request-id") ?? "");
    // Containers in one network share a host name; only the directory of its layer identifies each one.
    containers.add(mounts.map((line) => /^\S+ \/ .*upperdir=([^,]+)/.exec(line)?.[1]).join(""));
  });
  await Promise.all(calls);
  expect(containers).not.toContain("");
  return { warm, containers: containers.size };
}

// A shared network halves the engine's work.
test(
  `${CALLS} calls at once to a function with no instance ready are answered, each from its own container`,
  async () => {
    await using server = await warmServer();
    const fn = await server.createFunction(await fixture("chaos"), { share_network: true, warm_max: 0 });
    expect(await burst(server, fn)).toEqual({ warm: 0, containers: CALLS / 2 });
  },
  LONG_MS,
);

// With some reuse: the cost of a burst beyond the pool is covered by the test above.
test(
  `${CALLS} calls at once to a warm pool are answered, the first ones at once`,
  async () => {
    await using server = await warmServer();
    const settings = { share_network: true, warm_min: 20, warm_max: 20, max_calls: 5 };
    const fn = await server.createFunction(await fixture("chaos"), settings);
    await full(server, fn, 20);
    const { warm, containers } = await burst(server, fn);
    expect(containers).toBeGreaterThanOrEqual(CALLS / 2 / settings.max_calls);
    expect(warm).toBeGreaterThanOrEqual(20);
  },
  LONG_MS,
);
