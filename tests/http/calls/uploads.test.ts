import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { eventually } from "../../support/pace.ts";
import { RawClient } from "../support/raw-client.ts";
import { bytes, Pieces, StreamingApp, textsOf } from "../support/streaming-app.ts";

const MIB = 1024 * 1024;
const CHUNKED = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
/** So that a body is read while it comes. */
const LONG = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";

let app: StreamingApp;
beforeEach(() => {
  app = new StreamingApp();
});
afterEach(() => app[Symbol.asyncDispose]());

async function withLimits(options: ConstructorParameters<typeof StreamingApp>[0]): Promise<void> {
  await app[Symbol.asyncDispose]();
  app = new StreamingApp(options);
}

async function ended(): Promise<Invocation | undefined> {
  let found: Invocation | undefined;
  await eventually(async () => (found = (await app.records()).find((one) => one.finished_at !== null)) !== undefined);
  return found;
}

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

/** Answers with each piece of the request as it comes. */
function echo(): void {
  app.behave = ({ request }) => {
    const pieces = new Pieces();
    const pass = async () => {
      for await (const text of textsOf(request.body)) pieces.send(text.toUpperCase());
      pieces.end();
    };
    pass().catch(() => pieces.fail());
    return { status: 200, headers: [], body: pieces.body };
  };
}

/** Reads all of the request, and answers with its size. */
function count(): void {
  app.behave = async ({ request }) => {
    let size = 0;
    for await (const text of textsOf(request.body)) size += text.length;
    return bytes(String(size));
  };
}

describe("a request body", () => {
  test("reaches the function while it comes, and the answer goes back meanwhile", async () => {
    echo();
    using client = new RawClient(app.url);
    client.send(CHUNKED);
    for (const text of ["one", "two", "three"]) {
      client.send(chunk(text));
      await client.until(text.toUpperCase());
      expect(app.bodyMemory.used).toBe(0);
    }
    client.send("0\r\n\r\n");
    await client.until("0\r\n\r\n");
    expect(await ended()).toMatchObject({ status: "succeeded", request_bytes: 11, response_bytes: 11 });
  });

  test("is not read faster than the function reads it", async () => {
    await withLimits({ requestBytes: 64 * MIB });
    const go = Promise.withResolvers<void>();
    app.behave = async ({ request }) => {
      await go.promise;
      let size = 0;
      for await (const text of textsOf(request.body)) size += text.length;
      return bytes(String(size));
    };
    using client = new RawClient(app.url);
    client.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${48 * MIB}\r\n\r\n`);
    let out = 0;
    const piece = Buffer.alloc(MIB, "x");
    const sending = (async () => {
      for (; out < 48; out++) await client.sent(piece);
    })();
    let before = -1;
    await eventually(() => out === before || ((before = out), false));
    expect(out).toBeLessThan(24);
    expect(app.bodyMemory.used).toBe(0);
    go.resolve();
    await sending;
    await client.until(String(48 * MIB));
    expect(await ended()).toMatchObject({ status: "succeeded", request_bytes: 48 * MIB });
  });

  test("is freed piece by piece, when the function asks for the next one", async () => {
    await withLimits({ requestBytes: 64 * MIB });
    const pieces: Uint8Array[] = [];
    const lengths: number[] = [];
    app.behave = async ({ request: { body } }) => {
      if (!(body instanceof ReadableStream)) return bytes("the body was read before");
      for await (const piece of body) {
        pieces.push(piece);
        lengths.push(piece.length);
      }
      return bytes("ok");
    };
    await (await fetch(app.url, { method: "POST", body: new Uint8Array(4 * MIB) })).text();
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(4 * MIB);
    const long = pieces.filter((_, index) => (lengths[index] ?? 0) >= 65_536);
    expect(long.length).toBeGreaterThan(0);
    expect(long.every(({ length }) => length === 0)).toBe(true);
  });

  test("that is short has arrived when the function is called", async () => {
    let body: unknown;
    app.behave = ({ request }) => {
      body = request.body;
      return bytes("ok");
    };
    await fetch(app.url, { method: "POST", body: "short" });
    expect(body).toEqual(new Uint8Array(Buffer.from("short")));
  });

  test.each([
    ["buffer_request", { buffer_request: true }, ""],
    ["an Idempotency-Key", {}, "Idempotency-Key: k\r\n"],
  ])("has arrived when the function is called with %s", async (_name, settings, header) => {
    await withLimits({ settings });
    let body: unknown;
    app.behave = ({ request }) => {
      body = request.body;
      return bytes("ok");
    };
    using client = new RawClient(app.url);
    client.send(`POST / HTTP/1.1\r\nHost: x\r\n${header}Transfer-Encoding: chunked\r\n\r\n${chunk("one")}`);
    client.send(`${chunk("two")}0\r\n\r\n`);
    await client.until("ok");
    expect(body).toEqual(new Uint8Array(Buffer.from("onetwo")));
  });

  test("that is announced to be too long is refused before the function is called", async () => {
    count();
    using client = new RawClient(app.url);
    client.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${MIB + 1}\r\n\r\n`);
    expect(await client.until("payload_too_large")).toStartWith("HTTP/1.1 413 ");
    expect(await app.records()).toEqual([]);
  });

  test("that turns out to be too long ends the call with 413", async () => {
    count();
    using client = new RawClient(app.url);
    client.send(CHUNKED);
    for (let sent = 0; sent <= MIB; sent += 65_536) client.send(chunk("x".repeat(65_536)));
    expect(await client.until("payload_too_large")).toStartWith("HTTP/1.1 413 ");
    expect(await ended()).toMatchObject({ status: "failed", reason: "payload_too_large" });
  });

  test("that turns out to be too long after the head cuts the answer", async () => {
    echo();
    using client = new RawClient(app.url);
    client.send(CHUNKED + chunk("one"));
    await client.until("ONE");
    for (let sent = 0; sent <= MIB; sent += 65_536) client.send(chunk("x".repeat(65_536)));
    client.count();
    await client.closed;
    expect(await ended()).toMatchObject({ status: "failed", reason: "payload_too_large" });
  });

  test("that stops arriving ends the call with 408, and the time of the function does not count", async () => {
    await withLimits({ stallMs: 300 });
    app.behave = async ({ request }) => {
      await Bun.sleep(500);
      let size = 0;
      for await (const text of textsOf(request.body)) size += text.length;
      return bytes(String(size));
    };
    using patient = new RawClient(app.url);
    patient.send(LONG + "x".repeat(100_000));
    await patient.until("\r\n\r\n100000");
    using client = new RawClient(app.url);
    client.send(LONG + "x".repeat(70_000));
    expect(await client.until("request_timeout")).toStartWith("HTTP/1.1 408 ");
    const records = await app.records();
    expect(records.map(({ status, reason }) => [status, reason])).toContainEqual(["failed", "request_timeout"]);
  });

  test("may rest once the answer has begun", async () => {
    await withLimits({ stallMs: 300 });
    echo();
    using client = new RawClient(app.url);
    client.send(CHUNKED + chunk("one"));
    await client.until("ONE");
    await Bun.sleep(700);
    client.send(`${chunk("two")}0\r\n\r\n`);
    await client.until("TWO");
    await client.until("0\r\n\r\n");
    expect(await ended()).toMatchObject({ status: "succeeded" });
  });

  test("need not be read for an answer", async () => {
    app.behave = () => bytes("who are you", 401);
    using client = new RawClient(app.url);
    client.send(LONG + "x".repeat(10_000));
    expect(await client.until("who are you")).toStartWith("HTTP/1.1 401 ");
    expect(await ended()).toMatchObject({ status: "succeeded", response_bytes: 11 });
  });

  test("that its client breaks off cancels the call", async () => {
    const left = Promise.withResolvers<void>();
    app.behave = (call) => {
      call.signal.addEventListener("abort", () => left.resolve());
      count();
      return app.behave(call);
    };
    const client = new RawClient(app.url);
    await client.sent(LONG + "x".repeat(70_000));
    await eventually(async () => (await app.records()).length === 1);
    client[Symbol.dispose]();
    await left.promise;
    expect(await ended()).toMatchObject({ status: "cancelled", reason: "cancelled" });
  });
});
