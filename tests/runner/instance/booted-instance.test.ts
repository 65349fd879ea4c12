import { afterEach, describe, expect, test } from "bun:test";
import { NotDelivered } from "../../../lib/runner/instance/boot/not-delivered.ts";
import type { GateFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import type { Run } from "../../../lib/runner/instance/instance.ts";
import type { Outcome } from "../../../lib/runner/instance/outcome.ts";
import { exitFrame } from "../../gate/support/gate-frames.ts";
import { settled } from "../../support/fake-clock.ts";
import { FakeApp } from "./fake-app.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const SHORT = `${OK}Content-Length: 2\r\n\r\nhi`;
const FINISH = 0x0a;

let app: FakeApp;

afterEach(async () => {
  app.instance.retire();
  await settled();
  expect([app.clock.pending, app.channel.closed]).toEqual([0, true]);
});

async function booted(settings: ConstructorParameters<typeof FakeApp>[0] = {}, output = ""): Promise<FakeApp> {
  app = new FakeApp(settings);
  return app.boot(output);
}

const textOf = async ({ response }: Outcome) =>
  response === null ? null : new Response(response.body as Bun.BodyInit).text();

/** Returns what a promise has settled with, or "pending". */
async function now<T>(promise: Promise<T>): Promise<T | "pending"> {
  return Promise.race([promise, settled().then(() => "pending" as const)]);
}

describe("BootedInstance boots", () => {
  test("and is ready when its function listens", async () => {
    app = new FakeApp();
    expect([app.instance.state, app.instance.free]).toEqual(["starting", 0]);
    let boots = 0;
    const ready = app.instance.ready(1_000, new AbortController().signal, () => boots++);
    await app.say({ type: "ready", version: 10, uid: 0, gid: 0, surroundings: "processes", why: "" });
    expect([app.instance.state, boots, app.told[0]]).toEqual(["booting", 1, 0x05]);
    await app.clock.advance(400);
    await app.say({ type: "booted", bootUs: 1, address: "::1", port: 8080, streams: 64 });
    await ready;
    expect([app.instance.state, app.instance.free, app.instance.boot?.boot_ms]).toEqual(["ready", 1, 400]);
  });

  test.each<[string, GateFrame, string, RegExp]>([
    [
      "ends",
      exitFrame({ exitCode: 3 }),
      "boot_failed",
      /^The function exited with code 3 before it listened on port 8080\. The last lines of its output: b \| c \| d \| e \| no DATABASE_URL$/,
    ],
    ["is out of memory", exitFrame({ signal: 9, oomKills: 1 }), "out_of_memory", /memory_bytes/],
    [
      "listens elsewhere",
      {
        type: "not_listening",
        listeners: [
          { address: "127.0.0.1", port: 3000 },
          { address: "::1", port: 3001 },
        ],
      },
      "boot_timeout",
      /did not listen on port 8080 within 60000 ms: it listens on 127\.0\.0\.1:3000, \[::1\]:3001; set "port" to 3000/,
    ],
    ["does not listen", { type: "not_listening", listeners: [] }, "boot_timeout", /nothing listens/],
    ["cannot be executed", { type: "failed", stage: "exec", errno: 2 }, "entrypoint_failed", /cannot be executed/],
  ])("or not, if the function %s: a reason, and the last lines of its output", async (_, frame, reason, message) => {
    app = new FakeApp();
    const ready = app.instance.ready(1_000, new AbortController().signal).catch((error: unknown) => error);
    await app.say({ type: "ready", version: 10, uid: 0, gid: 0, surroundings: "processes", why: "" });
    await app.log("a\nb\nc\nd\ne\n\nno DATABASE_URL\n");
    await app.say(frame);
    expect(await ready).toMatchObject({
      reason,
      message: expect.stringMatching(message),
      logs: [{ stream: "stdout" }],
    });
    expect([app.instance.state, app.channel.rejected]).toEqual(["retired", false]);
  });

  test("with ready_path when it answers with a status below 400", async () => {
    app = new FakeApp({ ready_path: "/healthz" });
    const ready = app.instance.ready(1_000, new AbortController().signal);
    await app.say({ type: "ready", version: 10, uid: 0, gid: 0, surroundings: "processes", why: "" });
    await app.say({ type: "booted", bootUs: 1, address: "127.0.0.1", port: 8080, streams: 64 });
    expect(app.stream(1).received).toStartWith("GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
    await app.send(2, "HTTP/1.1 503 Not yet\r\n\r\n", true);
    expect([app.stream(1).closed, app.instance.state]).toEqual([true, "booting"]);
    await app.clock.advance(20);
    await app.heard();
    await app.send(4, SHORT);
    await ready;
    expect(app.instance.state).toBe("ready");
  });

  test("with ready_path until its deadline", async () => {
    app = new FakeApp({ ready_path: "/healthz", boot_timeout_ms: 900 });
    const ready = app.instance.ready(1_000, new AbortController().signal).catch((error: unknown) => error);
    await app.say({ type: "ready", version: 10, uid: 0, gid: 0, surroundings: "processes", why: "" });
    await app.say({ type: "booted", bootUs: 1, address: "127.0.0.1", port: 8080, streams: 64 });
    await app.clock.advance(1_000);
    expect(await ready).toMatchObject({ reason: "boot_timeout", message: expect.stringContaining('"ready_path"') });
  });
});

describe("BootedInstance serves a call", () => {
  test("with a short answer as a whole, ends the function behind it, and the record has what it used", async () => {
    await booted({}, "listening\n");
    const pending = app.call({ headers: { host: "example.com" } });
    await app.heard();
    expect(app.stream(1).received).toStartWith("GET / HTTP/1.1\r\nHost: example.com\r\n");
    await app.clock.advance(5);
    await app.send(2, SHORT);
    const run = await pending;
    expect(run.outcome).toMatchObject({
      status: "succeeded",
      first_byte_ms: 5,
      boot_ms: 0,
      response_bytes: 2,
      cpu_ms: null,
    });
    expect(await textOf(run.outcome)).toBe("hi");
    await app.heard();
    expect([app.instance.state, app.stream(1).closed, app.told]).toEqual(["draining", true, [0x05, FINISH]]);
    expect(await now(run.ended)).toBe("pending");
    await app.log("GET / 200\n");
    await app.exit({ signal: 15 });
    const last = await run.ended;
    expect(last).toMatchObject({ status: "succeeded", cpu_ms: 3, signal: null, exit_code: null });
    expect(last.logs).toMatchObject([{ text: "listening\n", boot: true }, { text: "GET / 200\n" }]);
    expect(last.log_bytes).toBe(20);
    expect([await run.reusable, app.instance.state]).toEqual([false, "retired"]);
  });

  test("and passes on a long answer as it comes", async () => {
    await booted();
    const pending = app.call();
    await app.heard();
    await app.send(2, `${OK}Content-Type: text/event-stream\r\n\r\none`);
    const run = await pending;
    const body = run.outcome.response?.body;
    if (!(body instanceof ReadableStream)) throw new Error("The body has arrived as a whole");
    const reader = body.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("one");
    const next = reader.read();
    expect(await now(next)).toBe("pending");
    await app.send(2, "two", true);
    expect(Buffer.from((await next).value ?? []).toString()).toBe("two");
    expect((await reader.read()).done).toBe(true);
    await app.exit();
    expect(await run.ended).toMatchObject({ status: "succeeded", response_bytes: 6 });
  });

  test("whose answer is 500, 408 or 429: passed on, and a failure in the record with the wish to be called later", async () => {
    for (const status of [500, 503, 408, 429]) {
      await booted();
      const pending = app.call();
      await app.heard();
      await app.send(2, `HTTP/1.1 ${status} X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n`);
      const { outcome } = await pending;
      expect(outcome).toMatchObject({ status: "failed", reason: "function_failed", wish: { retry_after_ms: 7_000 } });
      expect(outcome.response?.status).toBe(status);
      app.instance.retire();
    }
  });

  test.each([
    ["malformed", `${OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, /Content-Length twice/],
    ["missing", "", /closed the connection without an answer/],
    ["cut off", "HTTP/1.1 200", /in the middle of its head/],
  ])("whose answer is %s: invalid_response", async (_, text, message) => {
    await booted();
    const pending = app.call();
    await app.heard();
    await app.send(2, text, true);
    await app.clock.advance(100);
    expect((await pending).outcome).toMatchObject({
      status: "failed",
      reason: "invalid_response",
      message: expect.stringMatching(message),
      response: null,
    });
  });

  test.each([
    [{ exitCode: 3 }, "invalid_response", "exited with code 3"],
    [{ signal: 11 }, "invalid_response", "was ended by signal 11"],
    [{ signal: 9, oomKills: 1 }, "out_of_memory", "memory_bytes"],
  ])("while which the function ends (%p): %s", async (exit, reason, message) => {
    await booted();
    const pending = app.call();
    await app.heard();
    await app.exit(exit);
    const run = await pending;
    expect(run.outcome).toMatchObject({ reason, message: expect.stringContaining(message) });
    expect(await run.ended).toMatchObject({ reason, cpu_ms: 3 });
  });

  test("that reaches its deadline before a head: timed_out, and the function is ended", async () => {
    await booted();
    const pending = app.call();
    await app.clock.advance(1_000);
    const run = await pending;
    expect(run.outcome).toMatchObject({ status: "timed_out", reason: "function_timeout", response: null });
    await app.heard();
    expect(app.told).toContain(FINISH);
    // An app that does not care is gone with its container.
    await app.clock.advance(2_100);
    expect([(await run.ended).status, app.instance.state]).toEqual(["timed_out", "retired"]);
  });

  test("that reaches its deadline behind its head: the body fails at what has come", async () => {
    await booted();
    const pending = app.call();
    await app.heard();
    await app.send(2, `${OK}\r\npart`);
    const run = await pending;
    await app.clock.advance(1_000);
    const body = run.outcome.response?.body as ReadableStream<Uint8Array>;
    const reader = body.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("part");
    expect(reader.read()).rejects.toThrow("ran past its timeout");
    await app.exit();
    expect(await run.ended).toMatchObject({ status: "timed_out", reason: "function_timeout" });
  });

  test("whose caller goes away: the instance is gone at once", async () => {
    await booted();
    const caller = new AbortController();
    const pending = app.call({}, { signal: caller.signal });
    await app.heard();
    caller.abort();
    const run = await pending;
    expect([run.outcome.status, (await run.ended).status, app.channel.closed]).toEqual([
      "cancelled",
      "cancelled",
      true,
    ]);
  });

  test("that was not delivered: the same call may go to another instance", async () => {
    await booted();
    const pending = app.call().catch((error: unknown) => error);
    await app.heard();
    await app.say({ type: "close", stream: 2, ending: "unconnected", errno: 111 });
    expect(await pending).toBeInstanceOf(NotDelivered);
    expect(app.instance.free).toBe(0);
  });

  test.each([
    ["died", "instance_lost"],
    ["out_of_memory", "out_of_memory"],
  ] as const)("whose container ends (%s): %s", async (how, reason) => {
    await booted();
    app.channel.ending = { how };
    const pending = app.call();
    await app.heard();
    app.channel.hangUp();
    expect((await pending).outcome).toMatchObject({ status: "failed", reason });
    expect((await pending).outcome.message).not.toContain("before it was ready");
  });

  test("whose container ends: others go to another instance before it is known why", async () => {
    await booted({ max_calls: 0, concurrency: 4 });
    const ending = Promise.withResolvers<{ how: "died" }>();
    app.channel.ended = () => ending.promise;
    const pending = app.call();
    await app.heard();
    app.channel.hangUp();
    expect(app.instance.free).toBe(0);
    expect(await app.call().catch((error: unknown) => error)).toBeInstanceOf(NotDelivered);
    ending.resolve({ how: "died" });
    expect((await pending).outcome).toMatchObject({ status: "failed", reason: "instance_lost" });
  });

  test("no longer once its container has ended while it had none", async () => {
    await booted();
    app.channel.ended = () => Promise.withResolvers<never>().promise;
    app.channel.hangUp();
    expect(app.instance.state).toBe("retired");
  });
});

describe("BootedInstance that serves several calls", () => {
  const SHARED = { max_calls: 0, concurrency: 2 };

  async function two(settings: object = SHARED): Promise<[Promise<Run>, Promise<Run>]> {
    await booted(settings);
    const calls: [Promise<Run>, Promise<Run>] = [app.call(), app.call()];
    await app.heard();
    return calls;
  }

  test("at once has a stream for each, and takes more as they end", async () => {
    const [first, second] = await two();
    expect([app.instance.state, app.instance.free, app.instance.calls]).toEqual(["busy", 0, 2]);
    await app.send(4, SHORT);
    expect(await textOf((await second).outcome)).toBe("hi");
    expect([await (await second).reusable, app.instance.free, app.instance.state]).toEqual([true, 1, "busy"]);
    await app.send(2, SHORT);
    await first;
    expect([app.instance.state, app.instance.free, app.told]).toEqual(["ready", 2, [0x05]]);
  });

  test("writes what calls of one turn of the event loop say together", async () => {
    await booted({ max_calls: 0, concurrency: 8 });
    const calls = [app.call()];
    await app.heard();
    const before = app.channel.written.length;
    for (let more = 0; more < 7; more++) {
      calls.push(app.call());
      // Each has its own microtasks, as requests of several connections have.
      for (let step = 0; step < 20; step++) await Promise.resolve();
    }
    await app.heard();
    expect([app.streams.size, app.channel.written.length - before]).toEqual([8, 1]);
    for (let stream = 2; stream <= 16; stream += 2) await app.send(stream, SHORT);
    await Promise.all(calls);
  });

  test("fails one of them alone if its answer is wrong or its caller leaves", async () => {
    const [first, second] = await two();
    await app.send(2, "HTTP/9 200\r\n\r\n");
    expect((await first).outcome.reason).toBe("invalid_response");
    await app.send(4, SHORT);
    expect((await second).outcome.status).toBe("succeeded");
    const caller = new AbortController();
    const third = app.call({}, { signal: caller.signal });
    await app.heard();
    caller.abort();
    expect((await third).outcome.status).toBe("cancelled");
    await app.heard();
    expect([app.stream(3).closed, app.instance.state, app.instance.free]).toEqual([true, "ready", 2]);
  });

  test("takes no more of them after a timeout, and ends when the others have their answers", async () => {
    const [first, second] = await two();
    await app.clock.advance(999);
    const third = now(first);
    expect(await third).toBe("pending");
    await app.send(4, SHORT);
    await second;
    await app.clock.advance(1);
    expect((await first).outcome.status).toBe("timed_out");
    await app.heard();
    expect([app.instance.state, app.instance.free, app.told]).toEqual(["draining", 0, [0x05, FINISH]]);
  });

  test("serves no more than max_calls", async () => {
    const [first, second] = await two({ max_calls: 2, concurrency: 2 });
    expect(app.instance.free).toBe(0);
    await app.send(2, SHORT);
    expect([await now((await first).reusable), app.instance.state]).toEqual([false, "draining"]);
    await app.send(4, SHORT);
    await second;
    await app.heard();
    expect([app.instance.state, app.told]).toEqual(["draining", [0x05, FINISH]]);
  });

  test("is drained: the calls that it has are served", async () => {
    const [first] = await two();
    app.instance.drain();
    expect([app.instance.state, app.instance.free]).toEqual(["draining", 0]);
    await app.send(2, SHORT);
    expect((await first).outcome.status).toBe("succeeded");
    await app.heard();
    expect(app.told).toEqual([0x05]);
    await app.send(4, SHORT);
    await app.heard();
    expect(app.told).toEqual([0x05, FINISH]);
  });

  test("fails all of them when it breaks the protocol or ends", async () => {
    const [first, second] = await two();
    app.channel.push(Buffer.from([0x42, 0, 0, 0, 0]));
    for (const call of [first, second]) expect((await call).outcome).toMatchObject({ reason: "instance_lost" });
    expect(app.channel.rejected).toBe(true);
  });
});
