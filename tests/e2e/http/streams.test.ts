import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { RawClient } from "../../http/support/raw-client.ts";
import { parseMetrics, total } from "../../http/support/metrics-text.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

const MIB = 1024 * 1024;

/** A server that streams in every way, each at a path of its own. */
const APP = `
const encoder = new TextEncoder();
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const open = [];
Bun.serve({ port: Number(process.env.PORT), idleTimeout: 0,
  async fetch(request, server) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/events") return new Response(new ReadableStream({ async pull(controller) {
      const next = await new Promise((resolve) => open.push(resolve));
      if (next === "end") controller.close(); else controller.enqueue(encoder.encode("data: " + next + "\\n\\n"));
    } }, { highWaterMark: 0 }), { headers: { "content-type": "text/event-stream" } });
    if (pathname === "/tell") { open.shift()?.(searchParams.get("text")); return new Response("told"); }
    if (pathname === "/big") {
      const piece = new Uint8Array(65536).fill(120);
      let left = Number(searchParams.get("bytes"));
      return new Response(new ReadableStream({ pull(controller) {
        controller.enqueue(piece.subarray(0, Math.min(left, piece.length)));
        left -= piece.length;
        if (left <= 0) controller.close();
      } }, { highWaterMark: 0 }));
    }
    if (pathname === "/refuse") return new Response("no", { status: 403 });
    if (pathname === "/count") { let size = 0; for await (const piece of request.body) size += piece.length; return new Response(String(size)); }
    if (pathname === "/die") return new Response(new ReadableStream({ async pull(controller) {
      controller.enqueue(encoder.encode("half of it"));
      await wait(300);
      process.exit(7);
    } }, { highWaterMark: 0 }));
    if (pathname === "/socket") return server.upgrade(request) ? undefined : new Response("no socket", { status: 400 });
    if (pathname === "/later") return new Response("busy", { status: 503, headers: { "retry-after": "1" } });
    return new Response(pathname);
  },
  websocket: {
    message(socket, message) { if (message === "bye") socket.close(4000, "as you wish"); else socket.send(message); },
  },
});
`;

let server: SpawnedServer;
let fn: Function;

beforeAll(async () => {
  server = await SpawnedServer.start();
  fn = await register({ name: "streams", max_calls: 0, concurrency: 16, idle: "run", timeout_ms: 60_000 });
  await routeTo("/s/*", fn.id);
});

afterAll(() => server[Symbol.asyncDispose]());

async function post<T>(path: string, body: object): Promise<T> {
  const response = await fetch(server.url + path, { method: "POST", body: JSON.stringify(body) });
  const reply = (await response.json()) as { readonly message: string; readonly data: T };
  if (!response.ok) throw new Error(`${path}: ${reply.message}`);
  return reply.data;
}

async function register(settings: object): Promise<Function> {
  const command = ["bun", "-e", APP];
  return post("/v1/functions", { image: await fixture("bun"), contract: "http", command, network: "none", ...settings });
}

async function routeTo(path: string, function_id: string): Promise<void> {
  await post("/v1/routes", { path, function_id, methods: ["GET", "POST", "HEAD"] });
}

async function recordOf(id: string | null): Promise<Invocation> {
  const response = await fetch(`${server.url}/v1/invocations/${id}?wait=10s`);
  return ((await response.json()) as { readonly data: Invocation }).data;
}

async function resident(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return total(parseMetrics(text), "process_resident_memory_bytes");
}

describe("a function that streams", () => {
  test("sends each event when it has one, and the head before", async () => {
    const response = await fetch(`${server.url}/r/s/events`);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const reader = response.body?.getReader();
    const next = async () => Buffer.from((await reader?.read())?.value ?? []).toString();
    expect(await next()).toBe(":\n");
    for (const text of ["1", "2", "3"]) {
      await fetch(`${server.url}/r/s/tell?text=${text}`);
      expect(await next()).toBe(`data: ${text}\n\n`);
    }
    const id = response.headers.get("x-request-id");
    await fetch(`${server.url}/r/s/tell?text=end`);
    expect(await next()).toBe("");
    const record = await recordOf(id);
    expect(record).toMatchObject({ status: "succeeded", response_bytes: 27, contract: "http", undelivered: null });
    expect(record.first_byte_ms).toBeLessThan(record.run_ms ?? 0);
  });

  test("waits for a client that stalls in 200 MiB, which take no memory of the server", async () => {
    // Once before, for the buffers that a server has anyway.
    await (await fetch(`${server.url}/r/s/big?bytes=${20 * MIB}`)).arrayBuffer();
    const before = await resident();
    using client = new RawClient(server.url);
    client.send(`GET /r/s/big?bytes=${200 * MIB} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    await client.until("xxxx");
    client.pause();
    await Bun.sleep(2_000);
    expect((await resident()) - before).toBeLessThan(32 * MIB);
    // The others go on meanwhile.
    expect(await (await fetch(`${server.url}/r/s/other`)).text()).toBe("/other");
    client.count();
    await client.closed;
    expect(client.bytes).toBeGreaterThan(200 * MIB);
    expect((await resident()) - before).toBeLessThan(32 * MIB);
  }, 60_000);

  test("reads an upload while it comes, within the limit of requests", async () => {
    const body = Buffer.alloc(5 * MIB, "x");
    const pieces = () => new Blob([body]).stream();
    const response = await fetch(`${server.url}/r/s/count`, { method: "POST", body: pieces() });
    expect(await response.text()).toBe(String(5 * MIB));
    expect(await recordOf(response.headers.get("x-request-id"))).toMatchObject({ request_bytes: 5 * MIB });
    using client = new RawClient(server.url);
    client.send("POST /r/s/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let sent = 0; sent <= 6; sent++) {
      client.send(`${MIB.toString(16)}\r\n`);
      client.send(Buffer.alloc(MIB, "x"));
      client.send("\r\n");
    }
    expect(await client.until("payload_too_large")).toStartWith("HTTP/1.1 413 ");
  });

  test("answers an upload before its end", async () => {
    using client = new RawClient(server.url);
    client.send(`POST /r/s/refuse HTTP/1.1\r\nHost: x\r\nContent-Length: ${2 * MIB}\r\n\r\nthe beginning`);
    expect(await client.until("\r\n\r\nno")).toStartWith("HTTP/1.1 403 ");
  });

  test("is told when its client leaves", async () => {
    const abort = new AbortController();
    const response = await fetch(`${server.url}/r/s/events`, { signal: abort.signal });
    await response.body?.getReader().read();
    abort.abort();
    expect(await recordOf(response.headers.get("x-request-id"))).toMatchObject({ status: "cancelled" });
    expect(await eventually(async () => (await fetch(`${server.url}/r/s/other`)).ok)).toBe(true);
  });

  test("that dies in the middle of its answer has the connection cut", async () => {
    const own = await register({ name: "dies" });
    await routeTo("/dies/*", own.id);
    using client = new RawClient(server.url);
    client.send("GET /r/dies/die HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.until("half of it");
    await client.closed;
    expect(client.text).not.toContain("\r\n0\r\n");
    const id = /x-request-id: (\S+)/i.exec(client.text)?.[1] ?? null;
    expect(await recordOf(id)).toMatchObject({ status: "failed", response_bytes: 10, exit_code: 7 });
  });

  test("called asynchronously has its answer collected", async () => {
    const { id } = await post<Invocation>(`/v1/functions/${fn.id}/invoke?async=true`, {});
    expect(await recordOf(id)).toMatchObject({ status: "succeeded", response_bytes: 1, mode: "async" });
    expect(await (await fetch(`${server.url}/v1/invocations/${id}/result`)).text()).toBe("/");
  });

  test("speaks WebSocket with its client", async () => {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/r/s/socket`);
    const got: string[] = [];
    const closed = Promise.withResolvers<string>();
    socket.addEventListener("message", ({ data }: MessageEvent<string>) => void got.push(data));
    socket.addEventListener("close", ({ code, reason }) => closed.resolve(`${code} ${reason}`));
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    const long = "long ".repeat(40_000);
    for (const text of ["hello", long]) socket.send(text);
    expect(await eventually(() => got.length === 2)).toBe(true);
    expect(got).toEqual(["hello", long]);
    socket.send("bye");
    expect(await closed.promise).toBe("4000 as you wish");
    const page = (await (await fetch(`${server.url}/v1/invocations?limit=5`)).json()) as { readonly data: { readonly invocations: Invocation[] } };
    const [record] = page.data.invocations;
    expect(await recordOf(record?.id ?? null)).toMatchObject({ status: "succeeded" });
  });
});
