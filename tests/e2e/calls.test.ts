import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { fixture } from "../support/images.ts";
import { containersLeft, TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
});

afterEach(async () => {
  expect(await containersLeft()).toEqual([]);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe("POST /v1/functions/:id/invoke", () => {
  test("answers with the bytes that the function wrote", async () => {
    const fn = await server.createFunction(await fixture("chaos"));
    const response = await server.invoke(fn, ' {"do": "echo",  "n": 12345678901234567890}\n');
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(' {"do": "echo",  "n": 12345678901234567890}\n');
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-function-exit-code")).toBe("0");
    expect(response.headers.get("server-timing")).toMatch(/^queue;dur=[\d.]+, start;dur=[\d.]+;desc=cold, run;dur=[\d.]+$/);
  });
});
