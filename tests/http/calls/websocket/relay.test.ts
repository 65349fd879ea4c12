import { createConnection } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { MessageBody } from "../../../../lib/domain/calls/http-message.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { eventually } from "../../../support/pace.ts";
import { bytes, Pieces, StreamingApp } from "../../support/streaming-app.ts";

let app: StreamingApp;
beforeEach(() => {
  app = new StreamingApp();
});
afterEach(() => app[Symbol.asyncDispose]());

/** The function's end of a WebSocket: its frames are put together and read by hand. */
class Peer {
  readonly frames = new Pieces();
  readonly got: string[] = [];
  readonly #changed: (() => void)[] = [];
  signal: AbortSignal | undefined;

  /** Accepts a handshake, and notes what the client says: `text:...`, `binary:...`, `close:CODE REASON`, or `end`; unless it reads nothing. */
  accept(protocol?: string, { reads = true } = {}): void {
    app.behave = ({ request, signal }) => {
      this.signal = signal;
      if (reads) void this.#read(request.body);
      const key = request.headers["sec-websocket-key"] ?? "";
      const accept = new Bun.CryptoHasher("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      const headers: [string, string][] = [["sec-websocket-accept", accept]];
      if (protocol !== undefined) headers.push(["sec-websocket-protocol", protocol]);
      return { status: 101, headers, body: this.frames.body };
    };
  }

  say(opcode: number, payload: string | Uint8Array): void {
    const data = Buffer.from(payload);
    const head = Buffer.alloc(data.length < 126 ? 2 : 10);
    head.set([0x80 | opcode, data.length < 126 ? data.length : 127]);
    if (head.length > 2) head.writeBigUInt64BE(BigInt(data.length), 2);
    this.frames.sendBytes(Buffer.concat([head, data]));
  }

  async until(text: string): Promise<void> {
    while (!this.got.includes(text)) await new Promise<void>((resolve) => void this.#changed.push(resolve));
  }

  async #read(body: MessageBody): Promise<void> {
    if (body instanceof Uint8Array) return;
    for await (const frame of body) {
      // Each piece is one short frame, masked.
      const data = Buffer.from(frame.subarray(6).map((byte, at) => byte ^ (frame[2 + (at & 3)] ?? 0)));
      const opcode = (frame[0] ?? 0) & 0x0f;
      const isEmpty = data.length < 2;
      const texts: Record<number, string> = {
        1: `text:${data.toString()}`,
        2: `binary:${data.toString("hex")}`,
        8: isEmpty ? "close" : `close:${data.readUInt16BE(0)} ${data.subarray(2).toString()}`,
        10: `pong:${data.toString()}`,
      };
      this.#note(texts[opcode] ?? `frame ${opcode}`);
    }
    this.#note("end");
  }

  #note(text: string): void {
    this.got.push(text);
    for (const changed of this.#changed.splice(0)) changed();
  }
}

/** The client's end, with what has happened to it. */
function client(protocols: string[] = []) {
  const socket = new WebSocket(app.url.replace("http", "ws"), protocols);
  socket.binaryType = "arraybuffer";
  const got: string[] = [];
  const open = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<string>();
  socket.addEventListener("open", () => open.resolve());
  socket.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
    got.push(typeof data === "string" ? data : Buffer.from(data).toString("hex"));
  });
  socket.addEventListener("close", ({ code, reason }) => {
    open.resolve();
    closed.resolve(`${code} ${reason}`);
  });
  return { socket, got, open: open.promise, closed: closed.promise };
}

async function recordOf(): Promise<Invocation | undefined> {
  let found: Invocation | undefined;
  await eventually(async () => (found = (await app.records()).find((one) => one.finished_at !== null)) !== undefined);
  return found;
}

describe("a WebSocket", () => {
  test("carries texts and bytes both ways, with the subprotocol that the function chose", async () => {
    const peer = new Peer();
    peer.accept("b");
    const { socket, got, open } = client(["a", "b"]);
    await open;
    expect(socket.protocol).toBe("b");
    socket.send("hello");
    socket.send(Buffer.from([1, 2]));
    await peer.until("binary:0102");
    expect(peer.got).toEqual(["text:hello", "binary:0102"]);
    peer.say(1, "hi");
    peer.say(2, Buffer.from([3]));
    expect(await eventually(() => got.length === 2)).toBe(true);
    expect(got).toEqual(["hi", "03"]);
    peer.say(9, "are you there");
    await peer.until("pong:are you there");
    socket.close();
  });

  test("loses no message of its function, however large they are", async () => {
    const peer = new Peer();
    peer.accept();
    const { socket, open } = client();
    const came: (number | string)[] = [];
    socket.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
      came.push(typeof data === "string" ? data : data.byteLength);
    });
    await open;
    const sent = [15, 14, 13, 12].map((mebibytes) => mebibytes << 20);
    for (const length of sent) peer.say(2, Buffer.alloc(length));
    peer.say(1, "done");
    expect(await eventually(() => came.includes("done"))).toBe(true);
    expect(came).toEqual([...sent, "done"]);
    socket.close();
  });

  test("answers the pings of a function that reads nothing only while there is room", async () => {
    const peer = new Peer();
    peer.accept(undefined, { reads: false });
    const { socket, got, open } = client();
    await open;
    const ping = Buffer.concat([Buffer.from([0x89, 125]), Buffer.alloc(125)]);
    for (let sent = 0; sent < 50; sent++) peer.frames.sendBytes(Buffer.alloc(500 * ping.length, ping));
    peer.say(1, "still there");
    expect(await eventually(() => got.includes("still there"))).toBe(true);
    expect(app.bodyMemory.used).toBeGreaterThan(1_000_000);
    expect(app.bodyMemory.used).toBeLessThan(2_000_000);
    socket.close();
  });

  test("that its client closes is closed at the function, and its record succeeded", async () => {
    const peer = new Peer();
    peer.accept();
    const { socket, open, closed } = client();
    await open;
    socket.close(4001, "enough");
    await peer.until("end");
    expect(peer.got).toEqual(["close:4001 enough", "end"]);
    peer.frames.end();
    await closed;
    expect(await recordOf()).toMatchObject({ status: "succeeded" });
    expect(app.bodyMemory.used).toBe(0);
  });

  test("that its function closes is closed at the client with its code", async () => {
    const peer = new Peer();
    peer.accept();
    const { open, closed } = client();
    await open;
    peer.say(8, Buffer.concat([Buffer.from([0x0f, 0xa2]), Buffer.from("full")]));
    expect(await closed).toBe("4002 full");
    peer.frames.end();
    expect(await recordOf()).toMatchObject({ status: "succeeded" });
  });

  test("that its function breaks off is closed with 1011", async () => {
    const peer = new Peer();
    peer.accept();
    const { open, closed } = client();
    await open;
    peer.frames.fail();
    expect(await closed).toStartWith("1011 ");
    expect(await recordOf()).toMatchObject({ status: "failed" });
  });

  test("with frames that no server sends is closed with 1002", async () => {
    const peer = new Peer();
    peer.accept();
    const { open, closed } = client();
    await open;
    peer.frames.sendBytes(Buffer.from([0xf1, 0x00]));
    expect(await closed).toStartWith("1002 it sent a frame");
    await peer.frames.left.promise;
    const message = expect.stringContaining("The function's WebSocket is not valid: it sent a frame");
    expect(await recordOf()).toMatchObject({ status: "failed", reason: "invalid_response", message });
  });

  test("with frames that no client sends is its client's fault", async () => {
    const peer = new Peer();
    peer.accept();
    const { hostname, port } = new URL(app.url);
    const socket = createConnection(Number(port), hostname);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const key = Buffer.alloc(16).toString("base64");
    const handshake = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}`;
    socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\n${handshake}\r\n\r\n`);
    await new Promise((resolve) => socket.once("data", resolve));
    // It is not masked, and its bits are reserved ones.
    socket.write(Buffer.from([0xf1, 0x00]));
    await closed;
    await peer.frames.left.promise;
    expect(await recordOf()).toMatchObject({ status: "cancelled" });
  });

  test("ends with idle_timeout_ms of silence", async () => {
    await app[Symbol.asyncDispose]();
    const clock = new FakeClock();
    app = new StreamingApp({ clock, settings: { idle_timeout_ms: 150 } });
    const peer = new Peer();
    peer.accept();
    const { socket, open, closed } = client();
    await open;
    await clock.advance(149);
    expect(await app.records()).toMatchObject([{ status: "running" }]);
    const hasClosed = async () => {
      await clock.advance(10);
      return socket.readyState === WebSocket.CLOSED;
    };
    expect(await eventually(hasClosed)).toBe(true);
    expect(await closed).toStartWith("1011 ");
    expect(await recordOf()).toMatchObject({ status: "timed_out", reason: "function_timeout" });
  });

  test("that the function refuses is answered with its own words", async () => {
    app.behave = ({ request }) => bytes(`no ${request.upgrade}`, 403);
    const headers = {
      Upgrade: "websocket",
      Connection: "Upgrade",
      "Sec-WebSocket-Key": "a2V5",
      "Sec-WebSocket-Version": "13",
    };
    const response = await fetch(app.url, { headers });
    expect([response.status, await response.text()]).toEqual([403, "no true"]);
  });

  test("with a wrong accept is 502", async () => {
    const peer = new Pieces();
    app.behave = () => ({ status: 101, headers: [["sec-websocket-accept", "x"]], body: peer.body });
    const headers = {
      Upgrade: "websocket",
      Connection: "Upgrade",
      "Sec-WebSocket-Key": "a2V5",
      "Sec-WebSocket-Version": "13",
    };
    expect((await fetch(app.url, { headers })).status).toBe(502);
    await peer.left.promise;
  });
});
