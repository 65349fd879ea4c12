import { afterAll, beforeAll, expect, test } from "bun:test";
import type { FunctionOutput } from "../../../../lib/domain/calls/views/function-logs.ts";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../../lib/domain/functions/functions.ts";
import { eventsOf } from "../../../support/events.ts";
import { fixture } from "../../../support/images.ts";
import { TestServer } from "../../../support/server.ts";
import { expectError } from "../../support/replies.ts";

let server: TestServer;
let fn: Function;
let other: Function;

beforeAll(async () => {
  server = await TestServer.start();
  const image = await fixture("static");
  fn = await server.createFunction(image, {
    name: "printer",
    retry: { max_attempts: 1, min_ms: 0, max_ms: 0, on: [] },
  });
  other = await server.createFunction(image, { name: "other" });
});
afterAll(() => server[Symbol.asyncDispose]());

const log = (text: string) => ({ do: "log", text });

async function calledAt(response: Promise<Response>): Promise<string> {
  return (await response).headers.get("x-request-id") ?? "";
}

test("GET /v1/functions/:id/logs has the latest output and then that of all calls, synchronous or not, and how each ended", async () => {
  const before = await calledAt(server.invoke(fn, log("before\n")));
  const leave = new AbortController();
  const response = await fetch(`${server.url}/v1/functions/printer/logs`, { signal: leave.signal });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
  const events = eventsOf(response);
  const printed = new Map<string, string>();
  const ended = new Map<string, string>();
  /** Reads on until calls have ended. */
  const readUntil = async (...ids: readonly string[]) => {
    while (!ids.every((id) => ended.has(id))) {
      const { value } = await events.next();
      if (value === undefined) throw new Error("The stream has ended");
      if (value.event !== "output") continue;
      const { entries, ends, left_out } = value.data as FunctionOutput; // as the API promises
      expect(left_out).toBe(0);
      for (const { invocation_id, text } of entries)
        printed.set(invocation_id, (printed.get(invocation_id) ?? "") + text);
      for (const { invocation_id, status } of ends) ended.set(invocation_id, status);
    }
  };
  expect((await events.next()).value).toEqual({ event: "begin", data: { function_id: fn.id } });
  await readUntil(before);
  // More calls than browsers have connections, of another function, too.
  const calls = Array.from({ length: 8 }, (_, n) => calledAt(server.invoke(fn, log(`call ${n}\n`))));
  const foreign = await calledAt(server.invoke(other, log("foreign\n")));
  const queued = await server.api<Invocation>("POST", "/v1/functions/printer/invoke?async=true", {
    do: "exit",
    code: 3,
  });
  const ids = await Promise.all(calls);
  const failing = queued.body.data.id;
  await readUntil(...ids, failing);
  expect(printed.get(before)).toBe("before\n");
  expect(ids.map((id) => printed.get(id))).toEqual(ids.map((_, n) => `call ${n}\n`));
  expect([...ids.map((id) => ended.get(id)), ended.get(failing)]).toEqual([...ids.map(() => "succeeded"), "dead"]);
  expect([printed.has(foreign), ended.has(foreign)]).toEqual([false, false]);
  leave.abort();
});

test("GET /v1/functions/:id/logs answers 404 to an unknown function", async () => {
  expectError(await server.api("GET", "/v1/functions/nobody/logs"), { status: 404, reason: "not_found" });
});
