import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import type { ScheduleWithTimes } from "../../../lib/domain/schedules.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const NOWHERE = "00000000-0000-4000-8000-000000000000";

let server: TestServer;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start({ MIN_SCHEDULE_INTERVAL_MS: "1s" });
  fn = await server.createFunction(await fixture("chaos"), { name: "chaos" });
});
afterAll(() => server[Symbol.asyncDispose]());
afterEach(async () => {
  for (const { id } of await list()) await server.api("DELETE", `/v1/schedules/${id}`);
});

async function list(): Promise<ScheduleWithTimes[]> {
  return expectSuccess(await server.api<ScheduleWithTimes[]>("GET", "/v1/schedules"));
}

async function create(body: object): Promise<ScheduleWithTimes> {
  const reply = await server.api<ScheduleWithTimes>("POST", "/v1/schedules", { function_id: fn.id, ...body });
  return expectSuccess(reply, 201);
}

describe("POST /v1/schedules", () => {
  test("POST /v1/schedules answers 201 with the schedule and its next five times", async () => {
    const created = await create({ cron: "30 2 * * *", timezone: "Europe/Berlin", body: { kind: "daily" } });
    expect(created).toEqual({
      id: created.id,
      function_id: fn.id,
      cron: "30 2 * * *",
      timezone: "Europe/Berlin",
      body: { kind: "daily" },
      overlap: "skip",
      catch_up: "none",
      paused: false,
      last_invocation_id: null,
      created_at: created.created_at,
      updated_at: created.created_at,
      next: created.next,
    });
    expect(created.next).toHaveLength(5);
    expect(created.next.toSorted()).toEqual(created.next);
    expect(await list()).toEqual([created]);
    expect(expectSuccess(await server.api("GET", `/v1/schedules/${created.id}`))).toEqual(created);
  });

  test("POST /v1/schedules accepts the name of a function as its id, and any JSON as the body", async () => {
    for (const body of [null, "text", [1, 2], 5, { a: { b: null } }])
      expect(await create({ function_id: "chaos", cron: "@daily", body })).toMatchObject({ function_id: fn.id, body });
  });

  test.each([
    [{ cron: "* * *" }, 400, 'Invalid "cron" "* * *"'],
    [{ cron: "0 0 31 2 *" }, 400, "no time matches it"],
    [{ cron: "@daily", timezone: "Mars/Olympus" }, 400, 'Invalid "timezone" "Mars/Olympus"'],
    [{ cron: "@daily", overlap: "both" }, 400, 'Invalid "overlap"'],
    [{ cron: "@daily", catch_up: 1 }, 400, 'Invalid "catch_up"'],
    [{ cron: "@daily", every: "day" }, 400, 'Unknown field "every"'],
    [{}, 400, 'Missing "cron"'],
    [{ cron: "@daily", function_id: NOWHERE }, 404, "No function"],
  ])("POST /v1/schedules refuses %j", async (body, status, message) => {
    const reply = await server.api("POST", "/v1/schedules", { function_id: fn.id, ...body });
    expectError(reply, { status, reason: status === 404 ? "not_found" : "invalid_request" });
    expect(reply.body.message).toContain(message);
  });
});

describe("PATCH and DELETE /v1/schedules/:id", () => {
  test("PATCH /v1/schedules/:id pauses and changes", async () => {
    const { id } = await create({ cron: "@daily" });
    const paused = await server.api<ScheduleWithTimes>("PATCH", `/v1/schedules/${id}`, { paused: true });
    expect(expectSuccess(paused)).toMatchObject({ paused: true, next: [] });
    const changes = { paused: false, cron: "*/5 * * * *", overlap: "queue", catch_up: "one" };
    expect(expectSuccess(await server.api("PATCH", `/v1/schedules/${id}`, changes))).toMatchObject(changes);
    const wrong = await server.api("PATCH", `/v1/schedules/${id}`, { cron: "never" });
    expectError(wrong, { status: 400, reason: "invalid_request" });
    expect(expectSuccess(await server.api("GET", `/v1/schedules/${id}`))).toMatchObject(changes);
  });

  test.each(["GET", "PATCH", "DELETE"])("%s /v1/schedules/:id answers 404 to an unknown id", async (method) => {
    const body = method === "PATCH" ? {} : undefined;
    expectError(await server.api(method, `/v1/schedules/${NOWHERE}`, body), { status: 404, reason: "not_found" });
  });

  test("DELETE /v1/functions/:id also deletes its schedules", async () => {
    const other = await server.createFunction(await fixture("chaos"));
    const { id } = await create({ function_id: other.id, cron: "@daily" });
    expectSuccess(await server.api("DELETE", `/v1/functions/${other.id}`));
    expectError(await server.api("GET", `/v1/schedules/${id}`), { status: 404, reason: "not_found" });
  });
});

test("POST /v1/schedules refuses runs that are too close, and PATCH cannot make them closer (B10)", async () => {
  await using strict = await TestServer.start();
  const { id: function_id } = await strict.createFunction(await fixture("chaos"));
  const post = (cron: string) => strict.api<ScheduleWithTimes>("POST", "/v1/schedules", { function_id, cron });
  const message =
    'Invalid "cron" "*/5 * * * * *": it has runs 5 s apart, and the server allows one in 10 s (MIN_SCHEDULE_INTERVAL_MS): give longer intervals';
  expectError(await post("*/5 * * * * *"), { status: 400, reason: "invalid_request", message });
  const { id } = expectSuccess(await post("*/10 * * * * *"), 201);
  expectError(await strict.api("PATCH", `/v1/schedules/${id}`, { cron: "*/5 * * * * *" }), {
    status: 400,
    reason: "invalid_request",
    message,
  });
});

test("a schedule for every second calls its function on the engine, with its body", async () => {
  const { id } = await create({ cron: "* * * * * *", body: { do: "echo", by: "clock" } });
  let run: Invocation | undefined;
  while (run === undefined) {
    const reply = await server.api<InvocationPage>("GET", `/v1/invocations?function_id=${fn.id}&status=succeeded`);
    run = expectSuccess(reply).invocations.find(({ schedule_id }) => schedule_id === id);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expectSuccess(await server.api("DELETE", `/v1/schedules/${id}`));
  expect(run).toMatchObject({ mode: "async", attempts: 1 });
  expect(await (await fetch(`${server.url}/v1/invocations/${run.id}/result`)).json()).toEqual({
    do: "echo",
    by: "clock",
  });
});
