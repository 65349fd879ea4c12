import { afterAll, beforeAll, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { rawRequest } from "../support/raw-request.ts";
import { expectSuccess } from "../support/replies.ts";

/** Behind proxies on this machine and in 10.0.0.0/8 (A4). */
let server: TestServer;
let direct: TestServer;
const ADMIN = { Authorization: "Bearer the-key" };

beforeAll(async () => {
  server = await TestServer.start({ API_KEY: "the-key", TRUSTED_PROXIES: "127.0.0.1, 10.0.0.0/8" });
  direct = await TestServer.start({ API_KEY: "the-key" });
  for (const each of [server, direct]) {
    const body = {
      image: await fixture("shell"),
      name: "meta",
      entrypoint: ["/bin/sh", "-c"],
      command: ['cd "$CONTEXT_PATH" && cp request.meta.json response.json'],
    };
    expectSuccess(await each.api("POST", "/v1/functions", body, ADMIN), 201);
    const rate_limit = { requests: 1, window_ms: 3_600_000 };
    expectSuccess(await each.api("POST", "/v1/routes", { path: "/limited", function_id: "meta", rate_limit }, ADMIN));
    expectSuccess(await each.api("POST", "/v1/routes", { path: "/meta", function_id: "meta" }, ADMIN));
  }
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await direct[Symbol.asyncDispose]();
});

test("functions get the client's address, and see the headers as they came", async () => {
  const headers = { "X-Forwarded-For": "6.6.6.6, [2001:db8::9]:4711, 10.1.2.3" };
  const meta = async (to: TestServer) =>
    (await (await fetch(`${to.url}/r/meta`, { method: "POST", headers })).json()) as object; // a JSON object
  expect(await meta(server)).toMatchObject({
    client_address: "2001:db8::9",
    headers: { "x-forwarded-for": headers["X-Forwarded-For"] },
  });
  expect(await meta(direct)).toMatchObject({ client_address: "127.0.0.1" });
});

test("two header lines are one list", async () => {
  const lines = ["Host: localhost", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 198.51.100.7"];
  const { status, text } = await rawRequest(server.url, "POST /r/meta HTTP/1.1", { headers: lines });
  expect(status).toBe(200);
  expect(JSON.parse(text)).toMatchObject({ client_address: "198.51.100.7" });
});

test("rate limits by address go by the client", async () => {
  const statuses = async (to: TestServer) => {
    const seen: number[] = [];
    for (const address of ["198.51.100.1", "198.51.100.2", "198.51.100.1", "6.6.6.6, 198.51.100.2"]) {
      const headers = { "X-Forwarded-For": address };
      seen.push((await fetch(`${to.url}/r/limited`, { method: "POST", headers })).status);
    }
    return seen;
  };
  expect(await statuses(server)).toEqual([200, 200, 429, 429]);
  expect(await statuses(direct)).toEqual([200, 429, 429, 429]);
});

test("wrong keys are counted by the client", async () => {
  const guess = async (address: string) => {
    const headers = { Authorization: "Bearer wrong", Forwarded: `for=${address}` };
    return (await server.api("GET", "/v1/functions", undefined, headers)).status;
  };
  for (let i = 0; i < 5; i++) expect(await guess("198.51.100.1")).toBe(401);
  expect(await guess("198.51.100.1")).toBe(429);
  expect(await guess("198.51.100.2")).toBe(401);
});
