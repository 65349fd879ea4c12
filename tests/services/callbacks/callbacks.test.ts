import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Webhook } from "standardwebhooks";
import { AppError } from "../../../lib/domain/errors.ts";
import { type Callback, deliveriesOf, parseAllowed } from "../../../lib/domain/calls/callbacks.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { CALLBACK } from "../../../lib/domain/limits.ts";
import { CallbackSecrets } from "../../../lib/services/callbacks/signing-secrets.ts";
import { CallbackSender, type Sent } from "../../../lib/services/callbacks/sender.ts";
import { CallbackService } from "../../../lib/services/callbacks/callbacks.ts";
import { Vault } from "../../../lib/services/secrets/vault.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import { Receiver, type Received } from "../../support/receiver.ts";
import {
  listeningLog,
  newStore,
  rejectionOf,
  scratchDirectory,
  someInvocation,
} from "../../store/sqlite/support/stores.ts";
import { NO_TRACING } from "../support/no-tracing.ts";

const vault = Vault.forgetful();
let receiver: Receiver;
let clock: FakeClock;
let store: SqliteStore;
const services: CallbackService[] = [];

beforeEach(async () => {
  receiver = await Receiver.start();
  clock = new FakeClock();
  // The library of the receivers checks the time of day.
  clock.jump(Date.now() - clock.now());
  store = newStore();
});
afterEach(async () => {
  for (const service of services.splice(0)) await service[Symbol.asyncDispose]();
  store[Symbol.dispose]();
  await receiver[Symbol.asyncDispose]();
  expect(clock.pending).toBe(0);
});

/** A service that sends to loopback, and a promise for its next sending. */
function started(sends?: (url: string) => Promise<Sent>) {
  const allowed = parseAllowed(["127.0.0.0/8"]) ?? { names: new Set<string>(), ranges: [] };
  const sender = new CallbackSender({ allowed, clock, user_agent: "slipway/test", timeout_ms: CALLBACK.timeout_ms });
  const sent: (() => void)[] = [];
  const secrets = new CallbackSecrets({ settings: store.settings, vault, clock });
  const { log, events } = listeningLog();
  const service = new CallbackService({
    store,
    secrets,
    clock,
    log,
    retry_for_ms: CALLBACK.retry_for_ms,
    tracing: NO_TRACING,
    sender: {
      send: async (url, options) => {
        const result = await (sends ? sends(url) : sender.send(url, options));
        for (const resolve of sent.splice(0)) resolve();
        return result;
      },
    },
  });
  services.push(service);
  service.start();
  const written = async (): Promise<void> => {
    await new Promise<void>((resolve) => sent.push(resolve));
    await settled();
  };
  return { service, secrets, events, written };
}

/** Ends an invocation, with its consequences. */
function ends(service: CallbackService, id: string, fields: Partial<Invocation> = {}, response: string | null = "{}") {
  const invocation = someInvocation(id, { mode: "async", callback_url: receiver.url, ...fields });
  store.tables.invocations.put(invocation);
  store.tables.payloads.put({
    invocation_id: id,
    request: Buffer.from("{}"),
    request_meta: null,
    response_meta: null,
    response: response === null ? null : Buffer.from(response),
  });
  const deliveries = deliveriesOf(invocation, clock.now());
  for (const delivery of deliveries) store.tables.deliveries.insert(delivery);
  if (deliveries.length > 0) service.wake();
}

function verified({ body, headers }: Received, secret: string): unknown {
  const text = (name: string) => String(headers[name]);
  return new Webhook(secret).verify(body, {
    "webhook-id": text("webhook-id"),
    "webhook-timestamp": text("webhook-timestamp"),
    "webhook-signature": text("webhook-signature"),
  });
}

const shown = ({ state, attempts, last_status, last_problem }: Callback) => [
  state,
  attempts,
  last_status,
  last_problem,
];

describe("CallbackService", () => {
  test("sends the result, signed so that receivers can verify it", async () => {
    const { service, secrets, written } = started();
    ends(service, "i1", {}, '{"greeting":"hello"}');
    await written();
    const received = await receiver.get(1);
    expect(verified(received, (await secrets.get()).secret)).toMatchObject({
      type: "invocation.succeeded",
      data: { invocation: { id: "i1", status: "succeeded" }, response: { greeting: "hello" } },
    });
    expect(received.headers["webhook-id"]).toBe("i1");
    expect(await service.get("i1")).toMatchObject({ state: "delivered", last_status: 204, next_at: null });
    expect((await service.get("i1")).delivered_at).toBe(new Date(clock.now()).toISOString());
    const other = new CallbackSecrets({ settings: newStore().settings, vault, clock });
    const wrong = (await other.get()).secret;
    expect(() => verified(received, wrong)).toThrow("No matching signature found");
  });

  test.each([
    ["dead", "invocation.dead"],
    ["cancelled", "invocation.cancelled"],
  ] as const)("an invocation that is %s sends %s", async (status, type) => {
    const { service, written } = started();
    ends(service, "i1", { status }, null);
    await written();
    expect(JSON.parse((await receiver.get(1)).body)).toMatchObject({ type, data: { response: null } });
  });

  test("an invocation without a callback_url has no callback", async () => {
    const { service } = started();
    ends(service, "i1", { callback_url: null });
    expect(await rejectionOf(service.get("i1"))).toMatchObject({
      message: expect.stringContaining('has no "callback_url"'),
    });
  });

  test("tries again after 500, with the same id and body", async () => {
    const { service, written } = started();
    receiver.answer = 500;
    ends(service, "i1");
    await written();
    expect(shown(await service.get("i1"))).toEqual(["waiting", 1, 500, "It was answered with 500"]);
    // Between 5 and 10 s; the random number gives the middle.
    expect(Date.parse((await service.get("i1")).next_at ?? "") - clock.now()).toBe(7_500);
    receiver.answer = 200;
    await clock.advance(7_499);
    expect(receiver.received).toHaveLength(1);
    const again = written();
    await clock.advance(1);
    await again;
    expect(shown(await service.get("i1"))).toEqual(["delivered", 2, 200, null]);
    const [first, second] = receiver.received;
    expect(second?.body).toBe(first?.body ?? "");
    expect(second?.headers["webhook-id"]).toBe("i1");
  });

  // EDGE.md E5.
  test("gives up after CALLBACK_RETRY_FOR, the last attempt at its end", async () => {
    const sentAt: number[] = [];
    const { service, events } = started(() => {
      sentAt.push(clock.now());
      return Promise.resolve({ problem: "connect ECONNREFUSED" });
    });
    const start = clock.now();
    ends(service, "i1");
    await clock.advance(CALLBACK.retry_for_ms - 1);
    expect(await service.get("i1")).toMatchObject({ state: "waiting" });
    await clock.advance(1);
    expect(shown(await service.get("i1"))).toEqual(["failed", sentAt.length, null, "connect ECONNREFUSED"]);
    expect((sentAt.at(-1) ?? 0) - start).toBe(CALLBACK.retry_for_ms);
    // By exponential backoff up to an hour: not a stampede, and not once a day.
    expect(sentAt.length).toBeGreaterThan(30);
    expect(sentAt.length).toBeLessThan(100);
    expect(events).toContainEqual(expect.objectContaining({ level: "warn", event: "a callback failed for good" }));
    await service.retry("i1");
    await clock.advance(CALLBACK.retry_for_ms - 1);
    expect(await service.get("i1")).toMatchObject({ state: "waiting" });
  });

  // EDGE.md E5.
  test.each([
    ["120", 120_000],
    // Not sooner than without it, and not later than the longest wait.
    ["1", 7_500],
    ["86400", 3_600_000],
    ["99999999999999999999", 3_600_000],
    ["-5", 7_500],
    ["soon", 7_500],
    ["", 7_500],
  ])("waits as a Retry-After of %j says, within limits", async (retry_after, wait) => {
    const { service } = started(() => Promise.resolve({ status: 503, retry_after }));
    ends(service, "i1");
    await clock.advance(0);
    expect(Date.parse((await service.get("i1")).next_at ?? "") - clock.now()).toBe(wait);
  });

  // EDGE.md E5.
  test("waits until the date of a Retry-After, as receivers send it", async () => {
    const { service, written } = started();
    const date = new Date(Math.ceil(clock.now() / 1000) * 1000 + 600_000);
    receiver.answer = (response) => void response.writeHead(429, { "Retry-After": date.toUTCString() }).end();
    ends(service, "i1");
    await written();
    expect((await service.get("i1")).next_at).toBe(date.toISOString());
  });

  test("a 410 ends the callback, and a 307 is retried with an explanation", async () => {
    const { service } = started((url) => Promise.resolve({ status: url.endsWith("gone") ? 410 : 307 }));
    ends(service, "i1", { callback_url: "http://127.0.0.1/gone" });
    ends(service, "i2", { callback_url: "http://127.0.0.1/moved" });
    await clock.advance(0);
    expect(shown(await service.get("i1"))).toEqual(["failed", 1, 410, "It was answered with 410"]);
    expect(shown(await service.get("i2"))).toEqual([
      "waiting",
      1,
      307,
      "It was answered with 307, and redirects are not followed",
    ]);
  });

  test("shows that a private address is refused", async () => {
    const { service, written } = started();
    ends(service, "i1", { callback_url: "http://10.0.0.1/" });
    await written();
    expect(await service.get("i1")).toMatchObject({
      last_problem: expect.stringContaining("10.0.0.1 is not a public address"),
    });
  });

  test("retry: sends a finished callback again, and refuses a waiting one", async () => {
    let status = 410;
    const { service } = started(() => Promise.resolve({ status }));
    ends(service, "i1");
    await clock.advance(0);
    status = 503;
    expect(await service.retry("i1")).toMatchObject({ state: "waiting", attempts: 0, last_status: 410 });
    await clock.advance(0);
    expect(await rejectionOf(service.retry("i1"))).toMatchObject({ reason: "conflict" });
    status = 200;
    await clock.advance(10_000);
    expect(shown(await service.get("i1"))).toEqual(["delivered", 2, 200, null]);
    await service.retry("i1");
    await clock.advance(0);
    expect(shown(await service.get("i1"))).toEqual(["delivered", 1, 200, null]);
    expect(await rejectionOf(service.retry("i2"))).toMatchObject({ reason: "not_found" });
  });

  test("retry: a hundred concurrent ones send it once", async () => {
    let sent = 0;
    const { service } = started(async () => ({ status: sent++ === 0 ? 410 : 200 }));
    ends(service, "i1");
    await clock.advance(0);
    const all = await Promise.allSettled(Array.from({ length: 100 }, () => service.retry("i1")));
    await clock.advance(0);
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(sent).toBe(2);
  });
});

describe("CallbackService under load and with faults", () => {
  test("sends many at once, two to each receiver, none twice at the same time, and all of them", async () => {
    const sending = new Set<string>();
    const held: (() => void)[] = [];
    let most = 0;
    const sentTo: string[] = [];
    const { service } = started(async (url) => {
      expect(sending.has(url)).toBe(false);
      sending.add(url);
      most = Math.max(most, sending.size);
      const { host } = new URL(url);
      expect([...sending].filter((one) => new URL(one).host === host).length).toBeLessThanOrEqual(2);
      await new Promise<void>((resolve) => held.push(resolve));
      sending.delete(url);
      sentTo.push(url);
      return { status: 200 };
    });
    for (let i = 0; i < 80; i++) ends(service, `i${i}`, { callback_url: `http://127.0.0.1:${8000 + (i % 20)}/${i}` });
    while (sentTo.length < 80) {
      await clock.advance(1_000);
      service.wake();
      held.shift()?.();
      await settled();
    }
    expect(most).toBe(CALLBACK.at_once);
    expect(new Set(sentTo).size).toBe(80);
  });

  // EDGE.md E4.
  test("a receiver that hangs does not keep another one waiting, however much waits for it", async () => {
    const hanging = Promise.withResolvers<Sent>();
    const { service } = started((url) => (url.includes("hangs") ? hanging.promise : Promise.resolve({ status: 200 })));
    for (let i = 0; i < 200; i++) ends(service, `slow${i}`, { callback_url: "http://hangs.example.com/" });
    ends(service, "healthy", { callback_url: "http://healthy.example.com/" });
    await clock.advance(0);
    expect(shown(await service.get("healthy"))).toEqual(["delivered", 1, 200, null]);
    // Also those that come later.
    ends(service, "later", { callback_url: "http://healthy.example.com/" });
    await clock.advance(0);
    expect(shown(await service.get("later"))).toEqual(["delivered", 1, 200, null]);
    expect(shown(await service.get("slow0"))).toEqual(["waiting", 0, null, null]);
    hanging.resolve({ status: 410 });
  });

  // EDGE.md E4.
  test("receivers that take all places give them up in turns", async () => {
    const held: (() => void)[] = [];
    const { service } = started(async (url) => {
      if (url.includes("slow")) await new Promise<void>((resolve) => held.push(resolve));
      return { status: 200 };
    });
    // Enough to take all places again and again.
    for (let i = 0; i < 400; i++) ends(service, `slow${i}`, { callback_url: `http://slow${i % 40}.example.com/` });
    await clock.advance(0);
    expect(held).toHaveLength(CALLBACK.at_once);
    ends(service, "healthy", { callback_url: "http://healthy.example.com/" });
    await clock.advance(0);
    expect(await service.get("healthy")).toMatchObject({ state: "waiting" });
    // Not after the backlog of the others: after those that have not had a turn yet.
    for (let ended = 0; ended < 40; ended++) {
      held.shift()?.();
      await settled();
    }
    expect(await service.get("healthy")).toMatchObject({ state: "delivered" });
    while (held.length > 0) {
      held.shift()?.();
      await settled();
    }
  });

  test("survives a restart, even in the middle of an attempt", async () => {
    using directory = scratchDirectory();
    store[Symbol.dispose]();
    store = newStore(directory.file("database.db"));
    const first = started(() => new Promise(() => undefined));
    // As it would be after a kill -9: nothing of the attempt is noted.
    ends(first.service, "i1");
    await settled();
    store[Symbol.dispose]();
    store = newStore(directory.file("database.db"));
    services.splice(0);
    clock = new FakeClock();
    clock.jump(Date.now() - clock.now() + 1_000);
    const { service, secrets, written } = started();
    await written();
    expect(shown(await service.get("i1"))).toEqual(["delivered", 1, 204, null]);
    verified(await receiver.get(1), (await secrets.get()).secret);
    await service[Symbol.asyncDispose]();
    store[Symbol.dispose]();
    store = newStore();
  });

  test("a server that stops does not count the attempt that it interrupts", async () => {
    receiver.answer = () => undefined;
    const { service } = started();
    ends(service, "i1");
    const { closed } = await receiver.get(1);
    await service[Symbol.asyncDispose]();
    await closed;
    expect(shown(await service.get("i1"))).toEqual(["waiting", 0, null, null]);
    service.wake();
    expect(clock.pending).toBe(0);
  });

  test("an answered callback is not sent again while the disk is full", async () => {
    let sent = 0;
    const { service, events } = started(async () => ({ status: 200 + sent++ }));
    const full = [1, 2, 3];
    const put = store.tables.deliveries.put.bind(store.tables.deliveries);
    store.tables.deliveries.put = (delivery) => {
      if (full.pop() !== undefined) throw new AppError("storage_full", "Cannot write the database");
      put(delivery);
    };
    ends(service, "i1");
    await clock.advance(0);
    expect(shown(await service.get("i1"))).toEqual(["waiting", 0, null, null]);
    await clock.advance(3_000);
    expect(shown(await service.get("i1"))).toEqual(["delivered", 1, 200, null]);
    expect(sent).toBe(1);
    expect(events.filter(({ level }) => level === "error")).toHaveLength(3);
  });

  test("a record is kept until its result has been sent", async () => {
    const { service } = started((url) => Promise.resolve({ status: url.endsWith("1") ? 500 : 200 }));
    for (const id of ["1", "2"]) ends(service, id, { callback_url: `http://127.0.0.1/${id}` });
    await clock.advance(0);
    expect(await store.tables.invocations.prune({ before: clock.now() + 1, keep: 0, batch: 10 })).toBe(1);
    expect(store.tables.invocations.get("1")).toBeDefined();
    expect(store.tables.invocations.get("2")).toBeUndefined();
    expect(store.tables.deliveries.get("2")).toBeUndefined();
  });
});
