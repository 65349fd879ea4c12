import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { eventually } from "../../support/pace.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

/** A server that says how it was called, and does what the path says. */
const APP = `
console.log("starting on " + process.env.PORT); // once it listens it may be called, and what it prints is of that call
Bun.serve({ port: Number(process.env.PORT), idleTimeout: 0, async fetch(request) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/status") return new Response("said", { status: Number(searchParams.get("code")), headers: { "Retry-After": "1" } });
  if (pathname === "/exit") process.exit(Number(searchParams.get("code")));
  if (pathname === "/hang") await new Promise(() => {});
  console.log(request.method + " " + pathname);
  const body = await request.text();
  return Response.json({ method: request.method, url: request.url, headers: Object.fromEntries(request.headers), body, pid: process.pid });
}});
`;

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start();
  image = await fixture("bun");
});
afterAll(() => server[Symbol.asyncDispose]());

function register(settings: object = {}): Promise<Function> {
  return server.createFunction(image, { contract: "http", command: ["bun", "-e", APP], network: "none", ...settings });
}

/** Leads all paths below `path` to a function, with every method. */
async function routeTo({ id }: Pick<Function, "id">, path: string): Promise<string> {
  const methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"];
  const { body } = await server.api("POST", "/v1/routes", { path: `${path}/*`, function_id: id, methods });
  if (!body.success) throw new Error(body.message);
  return `${server.url}/r${path}`;
}

describe("a server in Bun", () => {
  let fn: Function;
  let url: string;

  beforeAll(async () => {
    fn = await register({ name: "echo" });
    url = await routeTo(fn, "/echo");
  });

  test("answers a call that it has booted for, and is used once", async () => {
    const answer = await server.invoke(fn, "hello", { headers: { "content-type": "text/plain" } });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json;charset=utf-8"]);
    const said = (await answer.json()) as {
      method: string;
      url: string;
      body: string;
      headers: Record<string, string>;
    };
    const id = answer.headers.get("x-request-id") ?? "";
    expect(said).toMatchObject({ method: "POST", body: "hello" });
    expect(new URL(said.url).pathname).toBe("/");
    expect(said.headers).toMatchObject({
      host: new URL(server.url).host,
      "content-type": "text/plain",
      "content-length": "5",
      "x-request-id": id,
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      traceparent: expect.stringContaining(id.replaceAll("-", "")),
    });
    const record = await eventuallyDone(id);
    expect(record).toMatchObject({ status: "succeeded", contract: "http", cpu_ms: expect.any(Number) });
    const { entries } = await server.logs(id);
    expect(entries.map(({ text, boot }) => [text, boot])).toEqual([
      ["starting on 8080\n", true],
      ["POST /\n", undefined],
    ]);
  });

  test("gets the path behind its route and the query as they were sent", async () => {
    const answer = await fetch(`${url}/a%20b/c?d=%2F&e`, {
      method: "PUT",
      body: "x",
      headers: { Forwarded: "for=evil" },
    });
    const said = (await answer.json()) as { method: string; url: string; headers: Record<string, string> };
    expect([said.method, said.url.replace(/^.*?\/\/[^/]*/, "")]).toEqual(["PUT", "/a%20b/c?d=%2F&e"]);
    expect(said.headers["x-forwarded-prefix"]).toBe("/r/echo");
    expect(said.headers["forwarded"]).not.toContain("evil");
  });

  test.each([[404], [500], [503]])("has its status %d passed on", async (code) => {
    const answer = await fetch(`${url}/status?code=${code}`);
    expect([answer.status, await answer.text(), answer.headers.get("retry-after")]).toEqual([code, "said", "1"]);
    const record = await eventuallyDone(answer.headers.get("x-request-id") ?? "");
    expect([record.status, record.reason]).toEqual(code < 500 ? ["succeeded", null] : ["failed", "function_failed"]);
  });

  test("that exits in a call: 502 with its exit code", async () => {
    const answer = await fetch(`${url}/exit?code=7`);
    expect([answer.status, await answer.json()]).toEqual([
      502,
      expect.objectContaining({ reason: "invalid_response" }),
    ]);
    const record = await eventuallyDone(answer.headers.get("x-request-id") ?? "");
    expect(record).toMatchObject({ exit_code: 7, message: expect.stringContaining("exited with code 7") });
  });

  test("that does not answer in time: 504", async () => {
    const slow = await register({ timeout_ms: 300 });
    const answer = await fetch(`${await routeTo(slow, "/slow")}/hang`);
    expect([answer.status, await answer.json()]).toEqual([
      504,
      expect.objectContaining({ reason: "function_timeout" }),
    ]);
  });
});

async function eventuallyDone(id: string) {
  let record = await server.invocation(id);
  await eventually(async () => {
    record = await server.invocation(id);
    return record.status !== "running" && (record.cpu_ms !== null || record.status !== "succeeded");
  });
  return record;
}

test("a server that ends before it listens: 502 boot_failed, with its exit code and the last lines of its output", async () => {
  const fn = await register({ command: ["sh", "-c", "echo no DATABASE_URL; exit 3"], probe: false });
  const answer = await server.invoke(fn);
  const { reason, message } = (await answer.json()) as { reason: string; message: string };
  expect([answer.status, reason]).toEqual([502, "boot_failed"]);
  expect(message).toContain("exited with code 3 before it listened on port 8080");
  expect(message).toContain("no DATABASE_URL");
});

test("a server on another port: 504 boot_timeout, which names that port", async () => {
  // One that listens long before the time is up, however busy the machine.
  const command = ["sh", "-c", "exec httpd -f -p 3000 -h /tmp"];
  const fn = await register({ command, boot_timeout_ms: 1_500, probe: false });
  const answer = await server.invoke(fn);
  const { reason, message } = (await answer.json()) as { reason: string; message: string };
  expect([answer.status, reason]).toEqual([504, "boot_timeout"]);
  expect(message).toMatch(/did not listen on port 8080 within 1500 ms: it listens on .*:3000; set "port" to 3000/);
});

test("busybox httpd serves its pages, also to HEAD", async () => {
  const script =
    "mkdir -p /tmp/www && echo '<h1>hello</h1>' > /tmp/www/index.html && exec httpd -f -p $PORT -h /tmp/www";
  const shell = await fixture("shell");
  const fn = await server.createFunction(shell, { contract: "http", command: ["-c", script], network: "none" });
  const url = await routeTo(fn, "/pages");
  const page = await fetch(`${url}/`);
  expect([page.status, page.headers.get("content-type"), await page.text()]).toEqual([
    200,
    "text/html",
    "<h1>hello</h1>\n",
  ]);
  const head = await fetch(`${url}/`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  expect((await fetch(`${url}/missing`)).status).toBe(404);
});
