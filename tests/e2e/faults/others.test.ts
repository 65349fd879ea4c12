import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { type Engine, acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineError } from "../../../.ci/engine/engine-client.ts";
import { fixture } from "../../support/images.ts";
import { containersLeft, TestServer } from "../../support/server.ts";
import { expectProblem, watchHealth } from "./support/invariants.ts";
import { eventually } from "../../support/pace.ts";

let engine: Engine;
let server: TestServer;

beforeAll(async () => {
  engine = await acquireEngine();
  server = await TestServer.start();
});

afterEach(async () => {
  expect(await containersLeft()).toEqual([]);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Returns the ids of a function's containers that run, or of `all`. Asked of the engine itself: a program takes its time to start. */
async function idsOf({ id }: Function, all = false): Promise<readonly string[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`slipway.function=${id}`] }));
  const listed = await engine.client.json("GET", `/containers/json?all=${all ? 1 : 0}&filters=${filters}`);
  return (listed as readonly { Id: string }[]).map(({ Id }) => Id); // the engine's own format
}

/** Starts a call that sleeps, and waits for its container. */
async function sleeping(fn: Function): Promise<{ readonly call: Promise<Response>; readonly container: string }> {
  const call = server.invoke(fn, { do: "sleep" });
  let container = "";
  const found = async () => {
    [container = ""] = await idsOf(fn);
    return (
      container !== "" &&
      (await fetch(`${server.url}/metrics`).then((reply) => reply.text())).includes('{state="busy"} 1')
    );
  };
  expect(await eventually(found)).toBe(true);
  return { call, container };
}

describe("a container that others", () => {
  test.each([
    ["remove", ["rm", "-f"]],
    ["kill", ["kill"]],
    ["terminate", ["kill", "-s", "TERM"]],
    ["stop", ["stop", "-t", "0"]],
  ])("%s while it runs gives 502 instance_lost", async (_, command) => {
    await using _health = watchHealth(server.url);
    const fn = await server.createFunction(await fixture("chaos"));
    const { call, container } = await sleeping(fn);
    await engine.docker(...command, container);
    const response = await call;
    const id = response.headers.get("x-request-id") ?? "";
    await expectProblem(response, "instance_lost", /ended or removed by something else/);
    expect(await server.invocation(id)).toMatchObject({ status: "failed", reason: "instance_lost" });
    expect((await server.invoke(fn)).status).toBe(200);
  });

  test("pause gives 504 at the timeout, and is finally removed", async () => {
    await using _health = watchHealth(server.url);
    const fn = await server.createFunction(await fixture("chaos"), { timeout_ms: 2_500 });
    const { call, container } = await sleeping(fn);
    await engine.client.request("POST", `/containers/${container}/pause`);
    const response = await call;
    await expectProblem(response, "function_timeout");
    expect(await containersLeft()).toEqual([]);
  });

  test("pause and unpause in time still answers", async () => {
    const fn = await server.createFunction(await fixture("chaos"));
    const call = server.invoke(fn, { do: "sleep", ms: 1_000 });
    const paused = async () => {
      const [id] = await idsOf(fn);
      if (id === undefined) return false;
      await engine.client.request("POST", `/containers/${id}/pause`);
      await engine.client.request("POST", `/containers/${id}/unpause`);
      return true;
    };
    expect(await eventually(paused)).toBe(true);
    expect((await call).status).toBe(200);
  });
});

test("a container that is removed before it is ready is replaced: no byte of the call has reached it", async () => {
  const fn = await server.createFunction(await fixture("chaos"));
  const call = server.invoke(fn, { do: "echo" });
  const removed = async () => {
    const [id] = await idsOf(fn, true);
    if (id === undefined) return false;
    await engine.client.request("DELETE", `/containers/${id}?force=1`).catch(isGoing);
    return true;
  };
  expect(await eventually(removed)).toBe(true);
  const response = await call;
  // If the removal was late, the call had begun.
  if (response.status !== 200) await expectProblem(response, "instance_lost");
});

/** Takes it as no error if the engine is removing a container already, or has. */
function isGoing(error: unknown): void {
  if (!(error instanceof EngineError && [404, 409].includes(error.status))) throw error;
}
