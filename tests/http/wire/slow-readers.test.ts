import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Undelivered } from "../../../lib/domain/calls/invocations.ts";
import { connectionKey } from "../../../lib/http/wire/send-queues.ts";
import { SlowReaders } from "../../../lib/http/wire/slow-readers.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { fixture } from "../../support/images.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

/** More than the kernel buffers between two sockets of one machine. */
const ANSWER_BYTES = 12 * 1024 * 1024;
const LIMITS = { MAX_RESPONSE_BYTES: "16MiB" };
const STALL_MS = 4_000;
/** Bun closes an idle connection after 1 to 5 s. */
const TIMES = { KEEP_ALIVE_MS: "1s", STALL_TIMEOUT_MS: String(STALL_MS) };

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start({ ...TIMES, ...LIMITS });
  await server.createFunction(await fixture("static"), { name: "big" });
});

afterAll(() => server[Symbol.asyncDispose]());

/** A caller of a function with a long answer, who stops reading at its beginning. */
class Reader {
  readonly #socket: Socket;
  /** Resolves when the server, or this reader, has closed the connection. */
  readonly closed: Promise<void>;
  /** The id of the invocation. */
  readonly id: Promise<string>;
  bytes = 0;

  constructor(url: string, idempotencyKey?: string) {
    const body = JSON.stringify({ do: "response", kind: "big", bytes: ANSWER_BYTES });
    const closed = Promise.withResolvers<void>();
    const id = Promise.withResolvers<string>();
    this.closed = closed.promise;
    this.id = id.promise;
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      if (this.bytes === 0) {
        socket.pause();
        id.resolve(/x-request-id: (\S+)/i.exec(chunk.toString("latin1"))?.[1] ?? "");
      }
      this.bytes += chunk.length;
    });
    // `bytes` shows what the server does to the connection.
    socket.on("error", () => undefined);
    socket.on("close", () => closed.resolve());
    const head = ["POST /v1/functions/big/invoke HTTP/1.1", "Host: localhost", `Content-Length: ${body.length}`];
    if (idempotencyKey !== undefined) head.push(`Idempotency-Key: ${idempotencyKey}`);
    socket.write([...head, "", body].join("\r\n"));
  }

  get isWhole(): boolean {
    return this.bytes > ANSWER_BYTES;
  }

  read(): void {
    this.#socket.resume();
  }

  /** Takes about so many bytes more. */
  async readSome(bytes: number): Promise<void> {
    const wanted = this.bytes + bytes;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (this.bytes < wanted) return;
      this.#socket.pause();
      this.#socket.off("data", look);
      resolve();
    };
    this.#socket.on("data", look);
    this.#socket.resume();
    await promise;
  }

  leave(): void {
    this.#socket.destroy();
  }
}

async function recordOf(reader: Reader): Promise<object> {
  const { status, response_bytes, undelivered } = await server.invocation(await reader.id);
  return { status, response_bytes, undelivered };
}

/** An app's server with one answer on its way, a clock, and a kernel that says what the test wants. */
function setUp() {
  const clock = new FakeClock();
  const timeouts: number[] = [];
  const kernel = { queued: 1_000, isOut: false, isKnown: true };
  const peer = { address: "127.0.0.1", port: 4711, family: "IPv4" } as const;
  const key = connectionKey(9999, peer);
  const readQueues = async () => (kernel.isKnown ? new Map([[key, kernel.queued]]) : undefined);
  const readers = new SlowReaders({ clock, timeouts: { keep_alive_ms: 75_000, stall_ms: 60_000 }, readQueues });
  const leaving = new AbortController();
  const why: Undelivered[] = [];
  readers.follow({
    request: new Request("http://localhost", { signal: leaving.signal }),
    server: {
      port: 9999,
      requestIP: () => (kernel.isOut ? null : peer),
      timeout: (_request, seconds) => void timeouts.push(seconds),
    },
    onUndelivered: (reason) => void why.push(reason),
  });
  const advance = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) await clock.advance(1_000);
  };
  return { readers, kernel, timeouts, leaving, why, advance };
}

describe("SlowReaders", () => {
  test("sets the timer of a connection again as long as bytes leave it, however few", async () => {
    const { kernel, timeouts, why, advance } = setUp();
    for (let minute = 0; minute < 10; minute++) {
      kernel.queued -= 1;
      await advance(55);
    }
    expect(timeouts.length).toBeGreaterThan(550 / 10);
    expect([...new Set(timeouts)]).toEqual([79]);
    expect(why).toEqual([]);
  });

  test("cuts an answer of which nothing moved for the stall time, also if more is waiting for its reader", async () => {
    const { kernel, timeouts, leaving, why, advance } = setUp();
    await advance(30);
    kernel.queued += 1_000;
    await advance(20);
    expect(timeouts).not.toContain(1);
    await advance(20);
    expect(timeouts.at(-1)).toBe(1);
    const { length } = timeouts;
    leaving.abort();
    await advance(60);
    expect([why, timeouts.length]).toEqual([["client_stalled"], length]);
  });

  test("does not blame a reader who has taken everything", async () => {
    const { kernel, timeouts, advance } = setUp();
    kernel.queued = 0;
    await advance(600);
    expect([...new Set(timeouts)]).toEqual([79]);
  });

  test("forgets an answer that is out, and one whose reader has left", async () => {
    const { kernel, timeouts, advance, readers } = setUp();
    kernel.isOut = true;
    await advance(600);
    expect(timeouts).toEqual([]);
    await readers.settled(1_000);
    const gone = setUp();
    gone.leaving.abort();
    expect(gone.why).toEqual(["client_closed"]);
  });

  test("leaves the timer alone on a machine without the kernel's tables", async () => {
    const { kernel, timeouts, advance } = setUp();
    kernel.isKnown = false;
    await advance(600);
    expect(timeouts).toEqual([]);
  });
});

// D1
describe.each([
  ["an answer", undefined],
  ["an answer with an Idempotency-Key", "key"],
])("a reader of %s", (_, key) => {
  /** Each test has a key of its own. */
  const newReader = (name: string) => new Reader(server.url, key && `${key}-${name}`);

  test.concurrent("gets it whole, however slow it is, as long as it reads", async () => {
    const reader = newReader("slow");
    await reader.id;
    // 20 KB/s, far longer than a connection may be idle and longer than the stall time.
    for (let second = 0; second < 7; second++) {
      await reader.readSome(20_000);
      await Bun.sleep(1_000);
    }
    expect(reader.bytes).toBeLessThan(ANSWER_BYTES / 2);
    reader.read();
    expect(await eventually(() => reader.isWhole)).toBe(true);
    expect(await recordOf(reader)).toEqual({
      status: "succeeded",
      response_bytes: ANSWER_BYTES,
      undelivered: null,
    });
    // It counts as idle from now on.
    await reader.closed;
  });

  test.concurrent("is given up when it takes nothing for the stall time, and the record says so", async () => {
    const reader = newReader("stalled");
    await reader.id;
    const began = performance.now();
    const isNoted = async () => (await server.invocation(await reader.id)).undelivered !== null;
    expect(await eventually(isNoted, STALL_MS + 10_000)).toBe(true);
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(STALL_MS - 1_000);
    await expectWithin(took, STALL_MS + 8_000);
    expect(await recordOf(reader)).toMatchObject({ status: "succeeded", undelivered: "client_stalled" });
    reader.read();
    await reader.closed;
    expect(reader.isWhole).toBe(false);
  });

  test.concurrent("who leaves in the middle is in the record", async () => {
    const reader = newReader("leaves");
    await reader.id;
    await reader.readSome(500_000);
    reader.leave();
    expect(await eventually(async () => (await server.invocation(await reader.id)).undelivered !== null)).toBe(true);
    expect(await recordOf(reader)).toMatchObject({ status: "succeeded", undelivered: "client_closed" });
  });
});

describe("a server that stops", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "slipway-readers-"));
  });
  afterAll(() => rm(directory, { recursive: true }));

  test("waits for the readers of answers within its grace, and then says that they did not get them", async () => {
    const stopped = await TestServer.start({ DATA_PATH: directory, ...LIMITS });
    await stopped.createFunction(await fixture("static"), { name: "big" });
    const [slow, stalled] = [new Reader(stopped.url), new Reader(stopped.url)];
    const ids = await Promise.all([slow.id, stalled.id]);
    const stopping = stopped.stop(5_000);
    // Longer than a server waits for its last small answers.
    await Bun.sleep(2_000);
    slow.read();
    expect(await eventually(() => slow.isWhole, 2_500)).toBe(true);
    await stopping;
    await using next = await TestServer.start({ DATA_PATH: directory });
    const records = await Promise.all(ids.map((id) => next.invocation(id)));
    expect(records.map(({ undelivered }) => undelivered)).toEqual([null, "shutting_down"]);
  });
});
