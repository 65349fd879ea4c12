import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start();
  image = await fixture("chaos");
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  for (const { id } of expectSuccess(await server.api<Function[]>("GET", "/v1/functions")))
    await server.api("DELETE", `/v1/functions/${id}?cascade=true`);
});

function make(name: string, settings: Partial<Function> = {}): Promise<Function> {
  const retry: Function["retry"] = { max_attempts: 1, min_ms: 0, max_ms: 0, on: [] };
  return server.createFunction(image, { name, retry, ...settings });
}

async function ended(id: string): Promise<Invocation> {
  for (;;) {
    const record = expectSuccess(await server.api<Invocation>("GET", `/v1/invocations/${id}?wait=30s`));
    if (record.finished_at !== null) return record;
  }
}

/** Runs a function and returns the invocation that followed, with its result. */
async function following(name: string, body: object) {
  const submitted = await server.api<Invocation>("POST", `/v1/functions/${name}/invoke?async=true`, body);
  const first = await ended(expectSuccess(submitted, 202).id);
  const page = expectSuccess(await server.api<InvocationPage>("GET", "/v1/invocations"));
  const next = page.invocations.find(({ parent_id }) => parent_id === first.id);
  if (next === undefined) return { first };
  const record = await ended(next.id);
  const result = await fetch(`${server.url}/v1/invocations/${next.id}/result`);
  return { first, next: record, result: await result.json() };
}

describe("on_success and on_failure", () => {
  test("each result becomes the request of the next function in the chain", async () => {
    const [last, middle] = [await make("last"), await make("middle")];
    const { on_success } = expectSuccess(
      await server.api<Function>("PATCH", "/v1/functions/middle", { on_success: "last" }),
    );
    expect(on_success).toBe(last.id);
    await make("first", { on_success: "middle", on_failure: "last" });
    const { first, next, result } = await following("first", { do: "echo", n: 1 });
    expect(result).toEqual({ do: "echo", n: 1 });
    expect(next).toMatchObject({ function_id: middle.id, parent_id: first.id, chain_depth: 1, status: "succeeded" });
    const list = async (query: string) =>
      expectSuccess(await server.api<InvocationPage>("GET", `/v1/invocations?${query}`));
    const followers = async (query: string) => (await list(query)).invocations.map(({ id }) => id);
    expect(await followers(`parent_id=${first.id}`)).toEqual([next?.id ?? ""]);
    expect(await followers(`parent_id=${first.id}&function_id=middle&status=succeeded`)).toEqual([next?.id ?? ""]);
    expect(await followers(`parent_id=${first.id}&function_id=last`)).toEqual([]);
    const page = await list(`function_id=${last.id}`);
    const [third] = page.invocations;
    expect(await ended(third?.id ?? "")).toMatchObject({ parent_id: next?.id, chain_depth: 2, status: "succeeded" });
  });

  test("a dead invocation goes to on_failure, with its response or else with its error", async () => {
    const failed = await make("failed");
    const first = await make("first", { on_failure: failed.id });
    const silent = await following("first", { do: "exit", code: 3 });
    expect(silent.next).toMatchObject({ function_id: failed.id });
    expect(silent.result).toEqual({
      invocation_id: silent.first.id,
      function_id: first.id,
      reason: "function_failed",
      message: "The function exited with code 3 and wrote no response: see its logs",
    });
    const spoken = await following("first", { do: "exit", code: 3, response: '{"error":"no"}' });
    expect(spoken.result).toEqual({ error: "no" });
  });

  test("a success does not go to on_failure, a dead invocation not to on_success, and a synchronous call to neither", async () => {
    await make("next");
    await make("good", { on_failure: "next" });
    await make("bad", { on_success: "next" });
    expect((await following("good", { do: "echo" })).next).toBeUndefined();
    expect((await following("bad", { do: "exit", code: 1 })).next).toBeUndefined();
    expect((await server.invoke({ id: "bad" }, { do: "echo" })).status).toBe(200);
    const page = expectSuccess(await server.api<InvocationPage>("GET", "/v1/invocations?function_id=next"));
    expect(page.invocations).toEqual([]);
  });

  test.each(["on_success", "on_failure"] as const)(
    "POST and PATCH answer 400 to an unknown function in %s",
    async (setting) => {
      await make("first");
      const message = `Invalid "${setting}" "nobody": there is no such function: GET /v1/functions lists them`;
      for (const reply of [
        await server.api("POST", "/v1/functions", { image: "does-not/matter", [setting]: "nobody" }),
        await server.api("PATCH", "/v1/functions/first", { [setting]: "nobody" }),
      ])
        expectError(reply, { status: 400, reason: "invalid_request", message });
    },
  );

  test("PATCH answers 400 to a cycle, and shows it", async () => {
    const { id } = await make("c");
    await make("b", { on_failure: "c" });
    await make("a", { on_success: "b" });
    expectError(await server.api("PATCH", "/v1/functions/c", { on_success: "a" }), {
      status: 400,
      reason: "invalid_request",
      message:
        'Invalid "on_success": it makes a cycle: "c" -> "a" -> "b" -> "c". Name a function whose own results do not lead here.',
    });
    expectError(await server.api("PATCH", "/v1/functions/a", { on_failure: "a" }), {
      status: 400,
      reason: "invalid_request",
      message:
        'Invalid "on_failure": it makes a cycle: "a" -> "a". Name a function whose own results do not lead here.',
    });
    expect(expectSuccess(await server.api<Function>("GET", `/v1/functions/${id}`)).on_success).toBeNull();
  });

  test("two concurrent changes do not make a cycle", async () => {
    for (const name of ["a", "b"]) await make(name);
    const replies = await Promise.all([
      server.api("PATCH", "/v1/functions/a", { on_success: "b" }),
      server.api("PATCH", "/v1/functions/b", { on_success: "a" }),
    ]);
    expect(replies.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 400]);
  });

  test("DELETE answers 409 for a function that others name, and cascade=true removes it from them", async () => {
    const { id } = await make("b");
    await make("a", { on_success: "b", on_failure: "b" });
    expectError(await server.api("DELETE", "/v1/functions/b"), {
      status: 409,
      reason: "conflict",
      message: `Cannot delete function "${id}": the function "a" names it as "on_success" or "on_failure"; change that first, or use ?cascade=true`,
    });
    expectSuccess(await server.api("DELETE", "/v1/functions/b?cascade=true"));
    expect(expectSuccess(await server.api<Function>("GET", "/v1/functions/a"))).toMatchObject({
      on_success: null,
      on_failure: null,
    });
  });
});
