import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
  await server.createFunction(await fixture("static"), { name: "chaos" });
});

afterAll(() => server[Symbol.asyncDispose]());

const HOST = "Host: localhost\r\n";
const CLOSE = "Connection: close\r\n";
const get = (path: string, headers = HOST) => `GET ${path} HTTP/1.1\r\n${headers}\r\n`;
/** A call of a function that takes a while. */
const call = (headers = HOST) => {
  const body = JSON.stringify({ do: "sleep", ms: 300 });
  return `POST /v1/functions/chaos/invoke HTTP/1.1\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
};

/** Sends bytes, and a FIN if `fin`; returns the statuses of the answers, in order, once the server has closed the connection. */
async function statusesOf(bytes: string, { fin = false } = {}): Promise<number[]> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(server.url).port), allowHalfOpen: true });
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.on("error", () => resolve());
  socket.on("end", () => resolve());
  if (fin) socket.end(bytes);
  else socket.write(bytes);
  await promise;
  socket.destroy();
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
}

async function lastCall(): Promise<string | undefined> {
  const { body } = await server.api<{ invocations: { status: string }[] }>("GET", "/v1/invocations?limit=1");
  return body.data.invocations[0]?.status;
}

/**
 * D6: what Bun's HTTP server cannot do today, as the manual says (operations-and-security.md, "What Bun's server cannot
 * do"). A test that fails here means that Bun has got better: change the manual, and let the test say what is right.
 */
describe("Bun's server", () => {
  // oven-sh/bun#35088
  test("answers a client that closes its side once the answer is known, and kills a function that still runs", async () => {
    expect(await statusesOf(get("/healthz"), { fin: true })).toEqual([200]);
    expect(await statusesOf(call(), { fin: true })).toEqual([]);
    expect(await eventually(async () => (await lastCall()) === "cancelled")).toBe(true);
  });

  // oven-sh/bun#38128
  test("closes the connection when a second request arrives while a function runs, and kills the function", async () => {
    expect(await statusesOf(call() + get("/healthz", HOST + CLOSE))).toEqual([]);
    expect(await eventually(async () => (await lastCall()) === "cancelled")).toBe(true);
  });

  // oven-sh/bun#33634
  test("answers an empty 400 to an empty line before a request", async () => {
    expect(await statusesOf(`\r\n${get("/healthz", HOST + CLOSE)}`)).toEqual([400]);
    expect(await statusesOf(`${get("/healthz")}\r\n`)).toEqual([200, 400]);
  });

  // oven-sh/bun#32887
  test("answers an empty 400 to trailers after a chunked body, and kills the function", async () => {
    const head = `POST /v1/functions/chaos/invoke HTTP/1.1\r\n${HOST}${CLOSE}Transfer-Encoding: chunked\r\n\r\n`;
    expect(await statusesOf(`${head}2\r\n{}\r\n0\r\n\r\n`)).toEqual([200]);
    expect(await statusesOf(`${head}2\r\n{}\r\n0\r\nX-Checksum: 1\r\n\r\n`)).toEqual([400]);
  });

  // oven-sh/bun#33636
  test("answers an empty 431 to more than 198 headers", async () => {
    const headers = (count: number) => Array.from({ length: count }, (_, n) => `X-${n}: 1\r\n`).join("");
    expect(await statusesOf(get("/healthz", HOST + CLOSE + headers(196)))).toEqual([200]);
    expect(await statusesOf(get("/healthz", HOST + CLOSE + headers(197)))).toEqual([431]);
  });
});
