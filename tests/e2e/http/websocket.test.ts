import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

/** A server that says everything back, closes with a code when it is told to, and refuses some handshakes. */
const APP = `
Bun.serve({
  port: Number(process.env.PORT), idleTimeout: 0,
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname === "/refuse") return new Response("members only", { status: 403, headers: { "X-Why": "refused" } });
    const asked = request.headers.get("sec-websocket-protocol");
    const headers = asked === null ? {} : { "Sec-WebSocket-Protocol": asked.split(",").at(-1).trim() };
    if (server.upgrade(request, { headers })) return;
    return new Response("no handshake", { status: 426 });
  },
  websocket: {
    maxPayloadLength: 16 << 20, idleTimeout: 0,
    message(socket, message) {
      if (message === "close") return socket.close(4002, "full");
      if (message === "exit") process.exit(3);
      if (message === "sleep") Bun.sleepSync(60_000);
      socket.send(message);
    },
    close(_socket, code, reason) { console.log("closed " + code + " " + reason); },
  },
});
`;

let server: TestServer;
let shared: string;
let single: string;

beforeAll(async () => {
  server = await TestServer.start();
  shared = await serve("/ws", { max_calls: 0, concurrency: 8, warm_max: 1 });
  single = await serve("/one", {});
});
afterAll(() => server[Symbol.asyncDispose]());

/** Registers the app, and returns the address of its route. */
async function serve(path: string, settings: Partial<Function>): Promise<string> {
  const command = ["bun", "-e", APP];
  const fn = await server.createFunction(await fixture("bun"), {
    contract: "http",
    command,
    network: "none",
    ...settings,
  });
  const { body } = await server.api("POST", "/v1/routes", { path: `${path}/*`, function_id: fn.id, methods: ["GET"] });
  if (!body.success) throw new Error(body.message);
  return `${server.url}/r${path}`;
}

/** A client's end. Its messages are read one by one. */
class Client {
  readonly socket: WebSocket;
  readonly closed: Promise<string>;
  readonly #open: Promise<void>;
  readonly #got: (string | ArrayBuffer)[] = [];
  #wake: () => void = () => undefined;

  constructor(url: string, protocols: string[] = []) {
    this.socket = new WebSocket(url.replace("http", "ws"), protocols);
    this.socket.binaryType = "arraybuffer";
    const open = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<string>();
    this.#open = open.promise;
    this.closed = closed.promise;
    this.socket.addEventListener("open", () => open.resolve());
    this.socket.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
      this.#got.push(data);
      this.#wake();
    });
    this.socket.addEventListener("close", ({ code, reason }) => {
      open.reject(new Error(`closed with ${code} ${reason}`));
      closed.resolve(`${code} ${reason}`);
    });
    open.promise.catch(() => undefined);
  }

  static async open(url: string, protocols?: string[]): Promise<Client> {
    const client = new Client(url, protocols);
    await client.#open;
    return client;
  }

  async next(): Promise<string | ArrayBuffer> {
    for (;;) {
      const next = this.#got.shift();
      if (next !== undefined) return next;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

const seen = new Set<string>();

/** Returns the record of the newest call, one that no test has asked for yet, once it has ended. */
async function ended(): Promise<Invocation> {
  let newest: Invocation | undefined;
  await eventually(async () => {
    const { body } = await server.api<InvocationPage>("GET", "/v1/invocations?limit=1");
    [newest] = body.data.invocations;
    return newest !== undefined && newest.finished_at !== null && !seen.has(newest.id);
  });
  if (newest === undefined) throw new Error("There is no record of a call");
  seen.add(newest.id);
  return newest;
}

describe("a WebSocket to a server in Bun", () => {
  test("carries text and bytes both ways, in their order", async () => {
    const client = await Client.open(`${shared}/`);
    client.socket.send("héllo");
    client.socket.send(new Uint8Array([0, 1, 255]));
    client.socket.send("");
    expect(await client.next()).toBe("héllo");
    expect(await client.next()).toEqual(new Uint8Array([0, 1, 255]).buffer);
    expect(await client.next()).toBe("");
    client.socket.close();
    await client.closed;
  });

  test("carries messages of 1 and 16 MiB, one after another", async () => {
    const client = await Client.open(`${shared}/`);
    for (const mib of [1, 1, 16]) {
      const sent = crypto.getRandomValues(new Uint8Array(65_536));
      const message = new Uint8Array(mib << 20).map((_, index) => (sent[index & 65_535] ?? 0) ^ (index >> 16));
      client.socket.send(message);
      const got = await client.next();
      expect(typeof got === "string" ? got : Bun.hash(got)).toBe(Bun.hash(message));
    }
    client.socket.close();
    await client.closed;
  });

  test("has the subprotocol that the server chose", async () => {
    const client = await Client.open(`${shared}/`, ["chat.v1", "chat.v2"]);
    expect(client.socket.protocol).toBe("chat.v2");
    client.socket.close();
    await client.closed;
  });

  test("that the server closes is closed with its code and reason", async () => {
    const client = await Client.open(`${single}/`);
    client.socket.send("close");
    expect(await client.closed).toBe("4002 full");
    expect(await ended()).toMatchObject({ status: "succeeded" });
  });

  test("that the client closes is closed at the server with its code and reason", async () => {
    const client = await Client.open(`${single}/`);
    client.socket.close(4001, "enough");
    await client.closed;
    const { id, status } = await ended();
    expect(status).toBe("succeeded");
    // The server may print after it has closed its side.
    await eventually(async () => (await server.logs(id)).entries.length > 0);
    const { entries } = await server.logs(id);
    expect(entries.map(({ text }) => text)).toEqual(["closed 4001 enough\n"]);
  });

  test("whose client is lost ends the call", async () => {
    const client = await Client.open(`${single}/`);
    client.socket.send("here");
    expect(await client.next()).toBe("here");
    client.socket.terminate();
    expect(await ended()).toMatchObject({ status: "cancelled" });
  });

  test("whose server exits is closed with 1011", async () => {
    const client = await Client.open(`${single}/`);
    client.socket.send("exit");
    expect(await client.closed).toStartWith("1011 ");
    const message = expect.stringContaining("The function exited with code");
    expect(await ended()).toMatchObject({ status: "failed", reason: "invalid_response", message });
  });

  test("that the server refuses is answered with its own words", async () => {
    const handshake = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": Buffer.from("0123456789abcdef").toString("base64"),
    };
    const answer = await fetch(`${shared}/refuse`, { headers: handshake });
    expect([answer.status, answer.headers.get("x-why"), await answer.text()]).toEqual([403, "refused", "members only"]);
    expect(await Client.open(`${shared}/refuse`).catch(String)).toStartWith("Error: closed with");
  });

  test("whose server takes no messages is closed with 1013", async () => {
    const client = await Client.open(`${single}/`);
    client.socket.send("sleep");
    const piece = new Uint8Array(512 * 1024);
    // Buffers on the way take some of them.
    for (let at = 0; at < 64; at++) client.socket.send(piece);
    expect(await client.closed).toStartWith("1013 The function does not take messages");
    expect(await ended()).toMatchObject({ status: "cancelled" });
  });

  test("that takes longer than timeout_ms is ended", async () => {
    const client = await Client.open(`${await serve("/brief", { timeout_ms: 1_000 })}/`);
    expect(await client.closed).toStartWith("1011 ");
    expect(await ended()).toMatchObject({ status: "timed_out", reason: "function_timeout" });
  });
});
