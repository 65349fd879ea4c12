import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Invocation } from "../../lib/domain/invocations.ts";
import { expectError, expectSuccess } from "../http/replies.ts";
import { fixture } from "../support/images.ts";
import { TestServer } from "../support/server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
  const { id } = await server.createFunction(await fixture("chaos"), { name: "chaos" });
  await server.createRoute("/chaos", id);
});
afterAll(() => server[Symbol.asyncDispose]());

/** Submits a call and gives the record of its 202. */
async function submit(body: unknown, query = "", headers: Record<string, string> = {}): Promise<Invocation> {
  const reply = await server.api<Invocation>("POST", `/v1/functions/chaos/invoke?async=true${query}`, body, headers);
  return expectSuccess(reply, 202);
}

async function ended(id: string): Promise<Invocation> {
  for (;;) {
    const record = expectSuccess(await server.api<Invocation>("GET", `/v1/invocations/${id}?wait=30s`));
    if (record.finished_at !== null) return record;
  }
}

describe("an asynchronous call", () => {
  test("answers 202 at once, runs, and keeps its result", async () => {
    const { id, status } = await submit({ do: "echo", x: 1 });
    expect(status).toBe("queued");
    expect(await ended(id)).toMatchObject({ status: "succeeded", mode: "async", attempts: 1, exit_code: 0 });
    const result = await fetch(`${server.url}/v1/invocations/${id}/result`);
    expect([result.status, result.headers.get("x-function-exit-code")]).toEqual([200, "0"]);
  });
});
