import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { Stats } from "../../../../lib/domain/stats/figures.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { newStore, scratchDirectory, someFunction, someInvocation } from "../../../store/sqlite/support/stores.ts";
import { TestServer } from "../../../support/server.ts";
import { expectError, expectSuccess } from "../../support/replies.ts";

const HOUR = 3_600_000;
const scratch = scratchDirectory();
/** The middle of an hour that is over, so that no rounding moves a call. */
const END = Math.floor(Date.now() / HOUR) * HOUR - HOUR / 2;
const RANGE = `since=${timestamp(END - HOUR / 2)}&until=${timestamp(END + HOUR / 2)}`;
let server: TestServer;
let url: string;

beforeAll(async () => {
  {
    using store = newStore(databasePath(scratch.path));
    await store.functions.insert(someFunction("f1", { name: "named" }));
    const times = { queue_ms: 1, start_ms: 10, run_ms: 100 };
    const failed = { status: "failed", reason: "function_failed", start: "warm" } as const;
    const records: [string, Partial<Invocation>][] = [
      ["a", { ...times, start: "cold", boot_ms: 8 }],
      ["b", failed],
      ["c", { ...failed, function_id: "removed", status: "timed_out", reason: "function_timeout" }],
      ["d", { status: "cancelled", reason: "cancelled", start: null, finished_at: timestamp(END + 60_000) }],
    ];
    const none = { queue_ms: null, start_ms: null, run_ms: null, request_bytes: 10, response_bytes: 20 };
    await store.history.save(
      records.map(([id, fields]) => ({
        invocation: someInvocation(id, { ...none, finished_at: timestamp(END), ...fields }),
      })),
    );
  }
  server = await TestServer.start({
    DATA_PATH: scratch.path,
    DOCKER_HOST: "unix:///nowhere/docker.sock",
    AUTH: "on",
    API_KEY: "the-key-of-the-server",
  });
  ({ url } = server);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

const KEY = { Authorization: "Bearer the-key-of-the-server" };
const get = (query: string, headers: Record<string, string> = KEY) =>
  server.api<Stats>("GET", `/v1/stats?${query}`, undefined, headers);

describe("GET /v1/stats", () => {
  test("GET /v1/stats has totals and a point for each step, with zeros where there was no call", async () => {
    const { points, ...rest } = expectSuccess(await get(`${RANGE}&step=15m`));
    expect(rest).toEqual({
      function_id: null,
      complete: true,
      since: timestamp(END - HOUR / 2),
      until: timestamp(END + HOUR / 2),
      step_ms: HOUR / 4,
      totals: {
        calls: 4,
        succeeded: 1,
        failed: 1,
        timed_out: 1,
        cancelled: 1,
        dead: 0,
        errors: 2,
        error_ratio: 0.5,
        calls_per_s: 0.001111,
        reasons: { function_failed: 1, function_timeout: 1, cancelled: 1 },
        cold: 1,
        warm: 2,
        cold_ratio: 0.3333,
        request_bytes: 40,
        response_bytes: 80,
        duration_ms: { p50: expect.closeTo(111, -1), p95: expect.closeTo(111, -1), p99: expect.closeTo(111, -1) },
        queue_ms: { p50: expect.closeTo(1, 1), p95: expect.closeTo(1, 1), p99: expect.closeTo(1, 1) },
        start_ms: expect.objectContaining({ p50: expect.closeTo(10, 0) }),
        boot_ms: expect.objectContaining({ p50: expect.closeTo(8, 0) }),
        run_ms: expect.objectContaining({ p50: expect.closeTo(100, -1) }),
      },
    });
    expect(points.map(({ at, calls }) => [at, calls])).toEqual(
      [0, 0, 4, 0].map((calls, step) => [timestamp(END - HOUR / 2 + step * (HOUR / 4)), calls]),
    );
    expect(points[0]).toMatchObject({ error_ratio: null, cold_ratio: null, calls_per_s: 0, reasons: {}, run_ms: null });
  });

  test("GET /v1/stats has minutes, hours, and one function by its name or its id", async () => {
    const minutes = expectSuccess(await get(`${RANGE}&step=minute`)).points;
    expect(minutes.filter(({ calls }) => calls > 0).map(({ at, calls }) => [at, calls])).toEqual([
      [timestamp(END), 3],
      [timestamp(END + 60_000), 1],
    ]);
    const ofName = expectSuccess(await get(`${RANGE}&step=hour&function_id=named`));
    expect(ofName).toMatchObject({ function_id: "f1", totals: { calls: 3 } });
    expect(ofName.points).toHaveLength(1);
    expect(expectSuccess(await get(`${RANGE}&function_id=f1`)).totals).toEqual(ofName.totals);
    // Nobody knows its name any more.
    expect(expectSuccess(await get(`${RANGE}&function_id=removed`)).totals).toMatchObject({ calls: 1, timed_out: 1 });
    expect(expectSuccess(await get(`${RANGE}&function_id=unknown`)).totals.calls).toBe(0);
  });

  test("GET /v1/stats counts a call at once, though its record is written later", async () => {
    const sinceThen = `since=${timestamp(END - HOUR / 2)}`;
    const before = expectSuccess(await get(sinceThen)).totals;
    const called = await server.api("POST", "/v1/functions/named/invoke", {}, KEY);
    expect(called.status).toBe(503);
    const { totals, points } = expectSuccess(await get(sinceThen));
    expect(totals.calls).toBe(before.calls + 1);
    expect(points.reduce((sum, { calls }) => sum + calls, 0)).toBe(totals.calls);
    expect(totals.reasons).toHaveProperty("engine_unavailable");
  });

  test.each([
    ["step=7s", 'Invalid "step" "7s"'],
    ["since=yesterday", 'Invalid "since" "yesterday"'],
    [`since=${timestamp(END)}&until=${timestamp(END - HOUR)}`, "is not before"],
    [`since=${timestamp(Date.now() - 47 * HOUR)}&step=1m`, "at most 1500 are given"],
    ["steps=1m", "steps"],
    ["limit=1", "limit"],
  ])("GET /v1/stats?%s answers 400", async (query, problem) => {
    const reply = await get(query);
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toContain(problem);
  });

  test("GET /v1/stats needs the scope read, which a key for one function cannot have", async () => {
    const withKey = async (fields: object) => {
      const made = await server.api<{ token: string }>("POST", "/v1/keys", { name: "k", ...fields }, KEY);
      expect(made.status).toBe(201);
      return { Authorization: `Bearer ${made.body.data.token}` };
    };
    expectSuccess(await get("", await withKey({ scopes: ["read"] })));
    for (const fields of [{ scopes: ["deploy"] }, { scopes: ["invoke"], function_id: "f1" }])
      expect(await get("", await withKey(fields))).toMatchObject({ status: 403, body: { reason: "forbidden" } });
    expect((await fetch(`${url}/v1/stats`)).status).toBe(401);
  });
});
