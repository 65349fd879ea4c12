import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

/** A server that streams: events that wait for one another, an echo, and bytes that can be checked. */
const APP = `
let go = () => {};
Bun.serve({ port: Number(process.env.PORT), idleTimeout: 0, maxRequestBodySize: 1e9, async fetch(request) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/go") { go(); return new Response("went"); }
  if (pathname === "/echo") return new Response(request.body);
  if (pathname === "/sum") { const sum = new Bun.CryptoHasher("sha256"); for await (const piece of request.body) sum.update(piece); return new Response(sum.digest("hex")); }
  if (pathname === "/bytes") {
    const count = Number(searchParams.get("mib"));
    let sent = 0;
    return new Response(new ReadableStream({ pull(c) { if (sent === count) return c.close(); c.enqueue(new Uint8Array(1 << 20).fill(sent++)); } }));
  }
  return new Response(new ReadableStream({ async start(c) {
    c.enqueue("data: 1\\n\\n");
    await new Promise((resolve) => (go = resolve));
    c.enqueue("data: 2\\n\\n");
    c.close();
  } }), { headers: { "Content-Type": "text/event-stream" } });
}});
`;

let server: TestServer;
let fn: Function;
let url: string;

beforeAll(async () => {
  server = await TestServer.start({ MAX_REQUEST_BYTES: String(64 << 20) });
  const settings = { command: ["bun", "-e", APP], network: "none", max_calls: 0, concurrency: 8, warm_max: 1 };
  fn = await server.createFunction(await fixture("bun"), { contract: "http", ...settings });
  const { body } = await server.api("POST", "/v1/routes", {
    path: "/s/*",
    function_id: fn.id,
    methods: ["GET", "POST"],
  });
  if (!body.success) throw new Error(body.message);
  url = `${server.url}/r/s`;
});
afterAll(() => server[Symbol.asyncDispose]());

test("an event reaches its reader before the next one is there", async () => {
  const answer = await fetch(`${url}/events`);
  expect(answer.headers.get("content-type")).toBe("text/event-stream");
  const reader = answer.body?.getReader();
  let text = "";
  while (!text.includes("data: 1\n\n")) text += Buffer.from((await reader?.read())?.value ?? []).toString();
  expect(text).not.toContain("data: 2");
  expect(await (await fetch(`${url}/go`)).text()).toBe("went");
  while (!text.includes("data: 2\n\n")) text += Buffer.from((await reader?.read())?.value ?? []).toString();
  expect((await reader?.read())?.done).toBe(true);
});

test("a download of 20 MiB arrives as it was sent", async () => {
  const sum = new Bun.CryptoHasher("sha256");
  for (let at = 0; at < 20; at++) sum.update(new Uint8Array(1 << 20).fill(at));
  const got = new Bun.CryptoHasher("sha256");
  for await (const piece of (await fetch(`${url}/bytes?mib=20`)).body ?? []) got.update(piece);
  expect(got.digest("hex")).toBe(sum.digest("hex"));
});

test("an upload of 20 MiB arrives as it was sent", async () => {
  const body = Buffer.concat(Array.from({ length: 20 }, () => crypto.getRandomValues(new Uint8Array(1 << 16))))
    .toString("hex")
    .repeat(8);
  const sum = new Bun.CryptoHasher("sha256").update(body).digest("hex");
  const answer = await fetch(`${url}/sum`, { method: "POST", body });
  expect([answer.status, await answer.text()]).toEqual([200, sum]);
});

test("an answer begins before its request has ended", async () => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const pending = fetch(`${url}/echo`, { method: "POST", body: readable });
  await writer.write(Buffer.from("first"));
  const answer = await pending;
  const reader = answer.body?.getReader();
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("first");
  await writer.write(Buffer.from("second"));
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("second");
  await writer.close();
  expect((await reader?.read())?.done).toBe(true);
});
