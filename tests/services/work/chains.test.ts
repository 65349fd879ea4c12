import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { CHAIN_DEPTH, QUEUED } from "../../../lib/domain/limits.ts";
import { FollowerCheck } from "../../../lib/services/functions/follower-check.ts";
import type { AttemptResult } from "../../../lib/services/work/attempts.ts";
import { ChainService } from "../../../lib/services/work/chains.ts";
import { InvocationEvents } from "../../../lib/services/calls/events.ts";
import { Queue } from "../../../lib/services/work/queue.ts";
import { readStoredRequest } from "../../../lib/services/calls/stored-messages.ts";
import { Worker } from "../../../lib/services/work/worker.ts";
import type { Store } from "../../../lib/store/sqlite/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { listeningLog, newStore, someFunction, someInvocation, thrownBy } from "../../store/sqlite/support/stores.ts";

let store: Store;
let announced: string[];
let chains: ChainService;
let events: Record<string, unknown>[];

beforeEach(async () => {
  store = newStore();
  const clock = new FakeClock();
  const invocationEvents = new InvocationEvents();
  const { log, events: logged } = listeningLog();
  events = logged;
  const tools = { store, events: invocationEvents, consequences: () => undefined, clock, log };
  const attempts = {
    available: true,
    hasRoom: () => false,
    retryOf: () => someFunction("f1").retry,
    run: () => Promise.reject(new Error("no attempt was to be made")),
  };
  const queue = new Queue({ ...tools, worker: new Worker({ ...tools, attempts }) });
  announced = [];
  const announce = (invocation: Invocation) => {
    // After the commit: it is there for everyone.
    announced.push(store.invocations.get(invocation.id)?.parent_id ?? "unknown");
    queue.announce(invocation);
  };
  chains = new ChainService({
    functions: store.functions,
    queue: { enqueue: (one) => queue.enqueue(one), announce },
    ...{ clock, log },
  });
  await store.functions.insert(someFunction("good", { callback_url: "https://example.com/good" }));
  await store.functions.insert(someFunction("bad"));
  await store.functions.insert(someFunction("f1", { on_success: "good", on_failure: "bad" }));
});
afterEach(() => store[Symbol.dispose]());

function result(fields: Partial<AttemptResult> = {}): AttemptResult {
  return {
    ...{ finished: { status: "succeeded", fields: {} }, response: Buffer.from('{"a":1}'), response_meta: null },
    ...{ logs: [], wish: {}, lost: false, gone: Promise.resolve() },
    ...fields,
  };
}

/** Ends an invocation, and gives what follows from it. */
function follow(fields: Partial<Invocation>, ending: AttemptResult | undefined = result()) {
  const parent = someInvocation("parent", { mode: "async", ...fields });
  const committed = store.work.fast(() => {
    store.invocations.put(parent);
    return chains.consequence(parent, ending);
  });
  expect(announced).toEqual([]);
  committed?.();
  const next = store.invocations.list({ limit: 10 }).invocations.find(({ id }) => id !== "parent");
  const payload = next && store.payloads.get(next.id);
  return { next, body: Buffer.from(payload?.request ?? []).toString(), meta: payload?.request_meta ?? null };
}

describe("ChainService", () => {
  test("on_success gets the response of what succeeded as its request", () => {
    const { next, body, meta } = follow({});
    expect(next).toMatchObject({
      ...{ function_id: "good", status: "queued", mode: "async", parent_id: "parent", chain_depth: 1 },
      callback_url: "https://example.com/good",
    });
    expect([body, meta]).toEqual(['{"a":1}', null]);
    expect(announced).toEqual(["parent"]);
    expect(store.work.get(next?.id ?? "")?.state).toBe("ready");
  });

  test("what may be any bytes is there as request.body too", () => {
    const response = Buffer.from([0xff, 0]);
    const { meta } = follow({}, result({ response, response_meta: JSON.stringify({ meta: null, body_file: true }) }));
    expect(readStoredRequest(meta, response).headers).toEqual({ "content-type": "application/octet-stream" });
  });

  test("on_failure gets the response of what is dead, or what went wrong", () => {
    const { next, body } = follow({ status: "dead" }, result({ response: Buffer.from('{"error":"no"}') }));
    expect(next).toMatchObject({ function_id: "bad", parent_id: "parent", callback_url: null });
    expect(body).toBe('{"error":"no"}');
  });

  test.each([
    ["that wrote none", result({ response: null })],
    ["that nobody saw the end of", undefined],
  ])("on_failure gets what went wrong with one %s", (_, ending) => {
    const parent = someInvocation("parent", {
      mode: "async",
      status: "dead",
      reason: "out_of_memory",
      message: "It ran",
    });
    store.work.fast(() => {
      store.invocations.put(parent);
      chains.consequence(parent, ending);
    });
    const [next] = store.invocations.list({ limit: 1, function_id: "bad" }).invocations;
    expect(JSON.parse(Buffer.from(store.payloads.get(next?.id ?? "")?.request ?? []).toString())).toEqual({
      ...{ invocation_id: "parent", function_id: "f1", reason: "out_of_memory", message: "It ran" },
    });
  });

  test.each<[what: string, fields: Partial<Invocation>]>([
    ["one that was cancelled", { status: "cancelled" }],
    ["one whose function names nobody", { function_id: "good" }],
    ["one whose function is gone", { function_id: "gone" }],
    ["the last one of a chain that is as long as may be", { chain_depth: CHAIN_DEPTH }],
  ])("nothing follows from %s", (_, fields) => {
    expect(follow(fields).next).toBeUndefined();
    expect(store.work.count()).toBe(0);
  });

  test("a chain that is too long leaves a word in the log", () => {
    expect(follow({ chain_depth: CHAIN_DEPTH - 1 }).next?.chain_depth).toBe(CHAIN_DEPTH);
    expect(events).toEqual([]);
    announced = [];
    follow({ chain_depth: CHAIN_DEPTH });
    expect(events).toMatchObject([
      { level: "warn", event: "a chain is too long, and ends here", request_id: "parent" },
    ]);
  });

  test("a full queue does not keep what follows out: it takes the place of what has ended", () => {
    store.work.count = () => QUEUED;
    expect(follow({}).next).toBeDefined();
  });

  test("what is undone leaves nothing", () => {
    const undo = new Error("undone");
    const run = () =>
      store.work.fast(() => {
        chains.consequence(someInvocation("parent"), result());
        throw undo;
      });
    expect(thrownBy(run)).toBe(undo);
    expect(store.work.count()).toBe(0);
    expect(announced).toEqual([]);
  });
});

describe("FollowerCheck", () => {
  const settings = () => new FollowerCheck({ functions: store.functions, allowed: { names: new Set(), ranges: [] } });
  const check = (after: Partial<Function> & { id: string }, changes: Partial<Function> = after) =>
    settings().check(someFunction(after.id, after), changes);

  test("resolve: names become ids, and nothing else is said", async () => {
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
    [
      { callback_url: "http://10.0.0.1/" },
      'Invalid "callback_url" "http://10.0.0.1/": 10.0.0.1 is not a public address',
    ],
  ])("resolve: %j is refused", (body, message) => {
    expect(thrownBy(() => settings().resolve(body))).toMatchObject({
      reason: "invalid_request",
      message: expect.stringContaining(message),
    });
  });

  test("check: what was deleted meanwhile, and what leads back, is refused", () => {
    expect(thrownBy(() => check({ id: "good", on_success: "gone" }))).toMatchObject({
      message: expect.stringContaining('"gone": there is no such function'),
    });
    expect(thrownBy(() => check({ id: "good", on_failure: "f1" }))).toMatchObject({
      message: expect.stringContaining('"good" -> "f1" -> "good"'),
    });
    check({ id: "good", on_failure: "bad" });
    // A change of something else is not held up by what is wrong already.
    check({ id: "good", on_failure: "f1" }, { timeout_ms: 5_000, on_success: null });
  });
});
