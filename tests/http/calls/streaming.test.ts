import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { eventually } from "../../support/pace.ts";
import { RawClient } from "../support/raw-client.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";
import { bytes, Pieces, StreamingApp, textsOf } from "../support/streaming-app.ts";

const MIB = 1024 * 1024;

let app: StreamingApp;
beforeEach(() => {
  app = new StreamingApp();
});
afterEach(() => app[Symbol.asyncDispose]());

/** Replaces the app of a test by one with other limits. */
async function withLimits(options: ConstructorParameters<typeof StreamingApp>[0]): Promise<StreamingApp> {
  await app[Symbol.asyncDispose]();
  return (app = new StreamingApp(options));
}

async function recordNow(holds: (record: Invocation) => boolean): Promise<Invocation | undefined> {
  return (await app.records()).find(holds);
}

async function recordOf(holds: (record: Invocation) => boolean): Promise<Invocation | undefined> {
  let found: Invocation | undefined;
  await eventually(async () => (found = await recordNow(holds)) !== undefined);
  return found;
}

/** Lets some time pass on a clock, and returns whether something holds then. */
async function passed(clock: FakeClock, holds: () => Promise<boolean>): Promise<boolean> {
  await clock.advance(10);
  return holds();
}

const hasEnded = ({ finished_at }: Invocation) => finished_at !== null;

function answerOf(pieces: Pieces, type = "text/plain") {
  return { status: 200, headers: [["content-type", type]] as const, body: pieces.body };
}

describe("an answer that streams", () => {
  test("leaves piece by piece, and its record ends with the last one", async () => {
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    pieces.send("one");
    const response = await fetch(app.url);
    const texts = textsOf(response.body);
    expect((await texts.next()).value).toBe("one");
    const id = response.headers.get("x-request-id") ?? "";
    expect(await app.invocations.get(id)).toMatchObject({ status: "running", start: "cold", finished_at: null });
    for (const text of ["two", "three"]) {
      pieces.send(text);
      expect((await texts.next()).value).toBe(text);
    }
    pieces.end();
    expect((await texts.next()).done).toBe(true);
    const record = await recordOf(hasEnded);
    expect(record).toMatchObject({
      id,
      status: "succeeded",
      response_bytes: 11,
      boot_ms: 7,
      cpu_ms: 3,
      undelivered: null,
    });
    expect(record?.first_byte_ms).toBeLessThan(record?.run_ms ?? 0);
    expect(response.headers.get("server-timing")).toMatch(
      /^queue;dur=[\d.]+, start;dur=[\d.]+;desc=cold, boot;dur=7.00, run;dur=[\d.]+$/,
    );
  });

  test("of events has a head at once, with a comment until the first event", async () => {
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces, "text/event-stream");
    const response = await fetch(app.url);
    const texts = textsOf(response.body);
    expect((await texts.next()).value).toBe(":\n");
    pieces.send("data: 1\n\n");
    expect((await texts.next()).value).toBe("data: 1\n\n");
    pieces.end();
    expect((await texts.next()).done).toBe(true);
  });

  test("of events that come at once is as the function sent it", async () => {
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces, "text/event-stream; charset=utf-8");
    pieces.send("data: 1\n\n");
    pieces.end();
    expect(await (await fetch(app.url)).text()).toBe("data: 1\n\n");
  });

  test("is cut without a last chunk when it fails, after all that was sent before", async () => {
    const clock = new FakeClock();
    await withLimits({ clock });
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    using client = new RawClient(app.url);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    pieces.send("one");
    expect(await client.until("one")).toContain("Transfer-Encoding: chunked");
    pieces.send("two");
    pieces.fail();
    await client.until("two");
    // The cut comes a moment later.
    const isClosed = async () => Bun.peek.status(client.closed) === "fulfilled";
    expect(await eventually(() => passed(clock, isClosed))).toBe(true);
    expect(client.text).toEndWith("3\r\ntwo\r\n");
    expect(await recordOf(hasEnded)).toMatchObject({ status: "failed", reason: "instance_lost", response_bytes: 6 });
  });

  test("ends with its reader, and the record says cancelled", async () => {
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    pieces.send("one");
    const client = new RawClient(app.url);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.until("one");
    client[Symbol.dispose]();
    await pieces.left.promise;
    const record = await recordOf((one) => hasEnded(one) && one.undelivered !== null);
    expect(record).toMatchObject({ status: "cancelled", undelivered: "client_closed", response_bytes: 3 });
  });

  test("of 200 MiB is not read ahead of a reader that stalls, and comes in full later", async () => {
    const size = 200 * MIB;
    const piece = Buffer.alloc(64 * 1024, "x");
    let made = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          controller.enqueue(piece);
          made += piece.length;
          if (made >= size) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    app.behave = () => ({ status: 200, headers: [], body });
    using client = new RawClient(app.url);
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await client.until("xxxx");
    client.pause();
    let before = -1;
    // The kernel's buffers of both ends, which are not the server's memory.
    await eventually(() => made === before || ((before = made), false));
    expect(made).toBeLessThan(32 * MIB);
    expect(app.bodyMemory.used).toBe(0);
    client.count();
    await client.closed;
    expect(made).toBe(size);
    expect(client.bytes).toBeGreaterThan(size);
    expect(await recordOf(hasEnded)).toMatchObject({ status: "succeeded", response_bytes: size });
  });

  test.each([
    ["timed_out", "function_timeout", 504],
    ["timed_out", "function_timeout", 200],
  ] as const)(
    "is %s (%s) after idle_timeout_ms of silence, before the head or after it",
    async (status, reason, sent) => {
      const clock = new FakeClock();
      await withLimits({ clock, settings: { idle_timeout_ms: 150 } });
      const pieces = new Pieces();
      const called = Promise.withResolvers<void>();
      app.behave = () => {
        called.resolve();
        return sent === 200 ? answerOf(pieces) : new Promise(() => undefined);
      };
      pieces.send("one");
      const answered = fetch(app.url);
      // Read at once: a reader that takes its time is not silent.
      const text = answered.then((response) => response.text());
      text.catch(() => undefined);
      await (sent === 200 ? answered : called.promise);
      await clock.advance(149);
      expect(await app.records()).toMatchObject([{ status: "running" }]);
      expect(await eventually(() => passed(clock, async () => (await recordNow(hasEnded)) !== undefined))).toBe(true);
      const response = await answered;
      expect(response.status).toBe(sent);
      expect(await recordNow(hasEnded)).toMatchObject({ status, reason });
      await clock.advance(1_000);
      if (sent === 200) expect(await rejectionOf(text)).toBeInstanceOf(Error);
    },
  );

  test("is not silent while bytes pass", async () => {
    const clock = new FakeClock();
    await withLimits({ clock, settings: { idle_timeout_ms: 400 } });
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    pieces.send("0");
    const texts = textsOf((await fetch(app.url)).body);
    for (let sent = 1; sent <= 8; sent++) {
      await texts.next();
      await clock.advance(300);
      pieces.send(String(sent));
    }
    await texts.next();
    pieces.end();
    expect((await texts.next()).done).toBe(true);
    expect(await recordOf(hasEnded)).toMatchObject({ status: "succeeded", response_bytes: 9 });
  });

  test("under way when the server stops gets the grace period, and is cut after it", async () => {
    const clock = new FakeClock();
    await withLimits({ clock });
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    pieces.send("one");
    const texts = textsOf((await fetch(app.url)).body);
    await texts.next();
    const drained = app.invocations.drain(200);
    await clock.advance(199);
    pieces.send("two");
    expect((await texts.next()).value).toBe("two");
    await clock.advance(1);
    await drained;
    const cuts: unknown[] = [];
    void rejectionOf(texts.next()).then((error) => cuts.push(error));
    // The cut comes a moment after the end of the call, which takes turns of its own.
    while (cuts.length === 0) await clock.advance(50);
    expect(cuts).toEqual([expect.any(Error)]);
    expect(await recordOf(hasEnded)).toMatchObject({ status: "failed", reason: "shutting_down" });
    expect((await fetch(app.url)).status).toBe(503);
  });

  test("that ends within the grace period of a stop is whole", async () => {
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    pieces.send("one");
    const response = await fetch(app.url);
    const drained = app.invocations.drain(60_000);
    pieces.end();
    expect(await response.text()).toBe("one");
    await drained;
    expect(await recordOf(hasEnded)).toMatchObject({ status: "succeeded" });
  });
});

describe("an answer of a server", () => {
  test.each([
    [200, "succeeded", null],
    [404, "succeeded", null],
    [408, "failed", "function_failed"],
    [429, "failed", "function_failed"],
    [503, "failed", "function_failed"],
    [599, "failed", "function_failed"],
  ] as const)("with status %d is passed through, and is recorded as %s", async (status, recorded, reason) => {
    app.behave = () => bytes("the server's own", status, [["retry-after", "7"]]);
    const response = await fetch(app.url);
    expect(response.status).toBe(status);
    expect(response.headers.get("retry-after")).toBe("7");
    expect(await response.text()).toBe("the server's own");
    expect(await recordOf(hasEnded)).toMatchObject({ status: recorded, reason, response_bytes: 16 });
  });

  test.each([204, 304])("with status %d has no body and keeps its headers", async (status) => {
    app.behave = () => bytes("", status, [["etag", '"1"']]);
    using client = new RawClient(app.url);
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await client.closed;
    expect(client.text).toStartWith(`HTTP/1.1 ${status} `);
    expect(client.text.toLowerCase()).toContain('etag: "1"\r\n');
    expect(client.text).toEndWith("\r\n\r\n");
  });

  test("to a HEAD has the length that the server gives", async () => {
    app.behave = () => bytes("", 200, [["content-length", "123456789"]]);
    using client = new RawClient(app.url);
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await client.closed;
    expect(client.text.match(/content-length: \d+/gi)).toEqual(["content-length: 123456789"]);
    expect(client.text).toEndWith("\r\n\r\n");
  });

  test("that has come has its length, each cookie apart, and its encoding as it is", async () => {
    const headers = [
      ["set-cookie", "a=1; Path=/"],
      ["set-cookie", "b=2"],
      ["content-encoding", "br"],
      ["content-length", "3"],
    ] as const;
    app.behave = () => bytes("abc", 200, headers);
    using client = new RawClient(app.url);
    client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\nConnection: close\r\n\r\n");
    await client.closed;
    expect(client.text.match(/^set-cookie: .*$/gim)).toEqual(["set-cookie: a=1; Path=/", "set-cookie: b=2"]);
    expect(client.text.match(/content-length: \d+/gi)).toEqual(["Content-Length: 3"]);
    expect(client.text).toMatch(/content-encoding: br\r\n/i);
    expect(client.text).toEndWith("\r\n\r\nabc");
  });
});

describe("record_bodies", () => {
  test("keeps both bodies of a call that streams", async () => {
    await withLimits({ settings: { record_bodies: true } });
    app.behave = async ({ request }) => {
      const pieces = new Pieces();
      for await (const text of textsOf(request.body)) pieces.send(text.toUpperCase());
      pieces.end();
      return answerOf(pieces);
    };
    const sent = "abc".repeat(50_000);
    expect(await (await fetch(app.url, { method: "POST", body: sent })).text()).toBe(sent.toUpperCase());
    const record = await recordOf(hasEnded);
    expect(record).toMatchObject({ request_bytes: sent.length, response_bytes: sent.length });
    const kept = await app.payload(record?.id ?? "");
    expect(Buffer.from(kept?.request ?? []).toString()).toBe(sent);
    expect(Buffer.from(kept?.response ?? []).toString()).toBe(sent.toUpperCase());
    expect(app.bodyMemory.used).toBe(0);
  });

  test("keeps no answer that is longer than answers may be", async () => {
    await withLimits({ settings: { record_bodies: true }, keptBytes: 1_000 });
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    for (let count = 0; count < 11; count++) pieces.send("x".repeat(100));
    pieces.end();
    expect(await (await fetch(app.url, { method: "POST", body: "{}" })).text()).toHaveLength(1_100);
    const record = await recordOf(hasEnded);
    expect(await app.payload(record?.id ?? "")).toMatchObject({ response: null });
    expect(app.bodyMemory.used).toBe(0);
  });
});

describe("an Idempotency-Key", () => {
  const init = { method: "POST", body: "{}", headers: { "Idempotency-Key": "k" } };

  test("stands for an answer that streams, once it has come in full", async () => {
    let runs = 0;
    app.behave = () => {
      const pieces = new Pieces();
      pieces.send(`run ${++runs}`);
      pieces.end();
      return answerOf(pieces);
    };
    for (let count = 0; count < 2; count++) expect(await (await fetch(app.url, init)).text()).toBe("run 1");
    expect(await recordOf(hasEnded)).toMatchObject({ status: "succeeded", response_bytes: 5 });
  });

  test("is for answers that can be stored", async () => {
    await withLimits({ keptBytes: 1_000 });
    const pieces = new Pieces();
    app.behave = () => answerOf(pieces);
    pieces.send("x".repeat(1_001));
    const response = await fetch(app.url, init);
    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ reason: "response_too_large" });
    await pieces.left.promise;
    expect(await recordOf(hasEnded)).toMatchObject({ status: "failed", reason: "response_too_large" });
  });
});
