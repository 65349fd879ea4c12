import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { CHAIN_DEPTH, QUEUED } from "../../../lib/domain/limits.ts";
import { readStoredRequest } from "../../../lib/services/calls/stored-messages.ts";
import { FollowerCheck } from "../../../lib/services/functions/follower-check.ts";
import type { AttemptResult } from "../../../lib/services/work/attempts.ts";
import { ChainService } from "../../../lib/services/work/chains.ts";
import { newInvocation } from "../../../lib/services/work/submissions.ts";
import type { End } from "../../../lib/store/ledger.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import {
  listeningLog,
  newStore,
  rejectionOf,
  someFunction,
  someInvocation,
  thrownBy,
} from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { claimNext } from "../../store/contract/records.ts";
import { NO_TRACING } from "../support/no-tracing.ts";

let store: SqliteStore;
let chains: ChainService;
let events: Record<string, unknown>[];
let clock: FakeClock;

beforeEach(async () => {
  clock = new FakeClock();
  store = newStore(":memory:", clock);
  const { log, events: logged } = listeningLog();
  events = logged;
  chains = new ChainService({ functions: store.functions, tracing: NO_TRACING, clock, log });
  await store.functions.insert(someFunction("good", { callback_url: "https://example.com/good" }));
  await store.functions.insert(someFunction("bad"));
  await store.functions.insert(someFunction("f1", { on_success: "good", on_failure: "bad" }));
});
afterEach(() => store[Symbol.dispose]());

function result(fields: Partial<AttemptResult> = {}): AttemptResult {
  return {
    finished: {
      status: "succeeded",
      fields: {},
    },
    response: Buffer.from('{"a":1}'),
    response_meta: null,
    logs: [],
    wish: {},
    lost: false,
    gone: Promise.resolve(),
    count: () => undefined,
    ...fields,
  };
}

/** Ends an invocation, and returns its follower. */
async function follow(
  fields: Partial<Invocation>,
  ending: AttemptResult | "unseen" = result(),
  beforeEnd?: () => Promise<void>,
) {
  const { id: parent } = await store.ledger.submit(newSubmission()).then(({ invocation }) => invocation);
  await claimNext(store.ledger, "f1", { now: clock.now(), until: clock.now() + 30_000 });
  await beforeEnd?.();
  const invocation = someInvocation(parent, { mode: "async", ...fields });
  const submissions = chains.following(invocation, ending === "unseen" ? undefined : ending);
  const end: End = {
    invocation_id: parent,
    attempt: 1,
    invocation,
    record: "unchanged",
    answer: null,
    left: null,
    deliveries: [],
    submissions,
  };
  expect(await store.ledger.end(end)).toBe(true);
  const next = store.tables.invocations.list({ limit: 10 }).invocations.find(({ id }) => id !== parent);
  expect(next).toEqual(submissions[0]?.invocation);
  const payload = next && store.tables.payloads.get(next.id);
  return { next, body: Buffer.from(payload?.request ?? []).toString(), meta: payload?.request_meta ?? null };
}

function newSubmission() {
  const target = { function: someFunction("f1"), route_id: null, key_id: null };
  return newInvocation({ id: "parent", target, body: Buffer.from("{}"), request_meta: null }, clock.now());
}

describe("ChainService", () => {
  test("on_success gets the response of a succeeded invocation as its request", async () => {
    const { next, body, meta } = await follow({});
    expect(next).toMatchObject({
      function_id: "good",
      status: "queued",
      mode: "async",
      parent_id: "parent",
      chain_depth: 1,
      callback_url: "https://example.com/good",
    });
    expect([body, meta]).toEqual(['{"a":1}', null]);
    expect(store.tables.work.get(next?.id ?? "")?.state).toBe("ready");
  });

  test("a response of any bytes is passed on as request.body too", async () => {
    const response = Buffer.from([0xff, 0]);
    const { meta } = await follow(
      {},
      result({ response, response_meta: JSON.stringify({ meta: null, body_file: true }) }),
    );
    expect(readStoredRequest(meta, response).headers).toEqual({ "content-type": "application/octet-stream" });
  });

  test("on_failure gets the response of a dead invocation", async () => {
    const { next, body } = await follow({ status: "dead" }, result({ response: Buffer.from('{"error":"no"}') }));
    expect(next).toMatchObject({ function_id: "bad", parent_id: "parent", callback_url: null });
    expect(body).toBe('{"error":"no"}');
  });

  test.each([
    ["that wrote no response", result({ response: null })],
    ["whose end was not seen", "unseen" as const],
  ])("on_failure gets the error of an invocation %s", async (_, ending) => {
    const fields = { status: "dead", reason: "out_of_memory", message: "It ran" } as const;
    const { next } = await follow(fields, ending);
    expect(next?.function_id).toBe("bad");
    expect(JSON.parse(Buffer.from(store.tables.payloads.get(next?.id ?? "")?.request ?? []).toString())).toEqual({
      invocation_id: "parent",
      function_id: "f1",
      reason: "out_of_memory",
      message: "It ran",
    });
  });

  test.each<[what: string, fields: Partial<Invocation>]>([
    ["a cancelled invocation", { status: "cancelled" }],
    ["one whose function has no followers", { function_id: "good" }],
    ["one whose function is gone", { function_id: "gone" }],
    ["the last one of a chain of the maximum length", { chain_depth: CHAIN_DEPTH }],
  ])("nothing follows from %s", async (_, fields) => {
    expect((await follow(fields)).next).toBeUndefined();
    expect(store.tables.work.count()).toBe(0);
  });

  test("a chain that is too long is logged", async () => {
    expect((await follow({ chain_depth: CHAIN_DEPTH - 1 })).next?.chain_depth).toBe(CHAIN_DEPTH);
    expect(events).toEqual([]);
    chains.following(someInvocation("parent", { mode: "async", chain_depth: CHAIN_DEPTH }), result());
    expect(events).toMatchObject([
      { level: "warn", event: "a chain is too long, and ends here", request_id: "parent" },
    ]);
  });

  test("a full queue accepts a follower: it takes the place of the invocation that ended", async () => {
    const { next } = await follow({}, result(), async () => {
      store.tables.work.count = () => QUEUED;
      await clock.advance(2_000);
    });
    expect(next).toBeDefined();
    const { invocation, request } = newSubmission();
    const refused = rejectionOf(store.ledger.submit({ invocation: { ...invocation, id: "other" }, request }));
    expect(await refused).toMatchObject({ reason: "overloaded" });
  });

  test("an end that is undone leaves no follower", async () => {
    const submissions = chains.following(someInvocation("parent"), result());
    const end: End = {
      invocation_id: "parent",
      attempt: 1,
      invocation: someInvocation("parent"),
      record: "unchanged",
      answer: null,
      left: null,
      deliveries: [],
      submissions,
    };
    // No attempt holds it.
    expect(await store.ledger.end(end)).toBe(false);
    expect(store.tables.work.count()).toBe(0);
    expect(store.tables.invocations.list({ limit: 10 }).invocations).toEqual([]);
  });
});

describe("FollowerCheck", () => {
  const settings = () => new FollowerCheck({ functions: store.functions, allowed: { names: new Set(), ranges: [] } });
  const check = (after: Partial<Function> & { id: string }, changes: Partial<Function> = after) =>
    settings().check(someFunction(after.id, after), changes);

  test("resolve: returns the ids of named functions, and nothing else", async () => {
    await store.functions.insert(someFunction("f9", { name: "nine" }));
    expect(settings().resolve({ on_success: "nine", on_failure: "good" })).toEqual({
      on_success: "f9",
      on_failure: "good",
    });
    expect(settings().resolve({ on_success: null, callback_url: "https://example.com/" })).toEqual({});
  });

  test.each([
    [
      { on_success: "nobody" },
      'Invalid "on_success" "nobody": there is no such function: GET /v1/functions lists them',
    ],
    [{ callback_url: "http://10.0.0.1/" }, 'Invalid "callback_url": 10.0.0.1 is not a public address'],
  ])("resolve: %j is refused", (body, message) => {
    expect(thrownBy(() => settings().resolve(body))).toMatchObject({
      reason: "invalid_request",
      message: expect.stringContaining(message),
    });
  });

  test("check: refuses a function that was deleted meanwhile, and one that leads back", () => {
    expect(thrownBy(() => check({ id: "good", on_success: "gone" }))).toMatchObject({
      message: expect.stringContaining('"gone": there is no such function'),
    });
    expect(thrownBy(() => check({ id: "good", on_failure: "f1" }))).toMatchObject({
      message: expect.stringContaining('"good" -> "f1" -> "good"'),
    });
    check({ id: "good", on_failure: "bad" });
    // An existing fault does not prevent a change of another setting.
    check({ id: "good", on_failure: "f1" }, { timeout_ms: 5_000, on_success: null });
  });
});
