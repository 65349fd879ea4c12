import { describe, expect, test } from "bun:test";
import type { ResponseHeader } from "../../../../lib/domain/calls/http-message.ts";
import type { IdempotentRequest } from "../../../../lib/domain/calls/idempotency.ts";
import { AppError } from "../../../../lib/domain/errors.ts";
import type { Caller, Scope } from "../../../../lib/domain/keys.ts";
import { invoke } from "../../../../lib/http/aws/calls/invoke.ts";
import { invokeWithResponseStream } from "../../../../lib/http/aws/calls/stream.ts";
import { AbandonedCalls } from "../../../../lib/http/aws/wire/abandoned.ts";
import type { AwsRequest, AwsTools } from "../../../../lib/http/aws/wire/tools.ts";
import { BodyMemory } from "../../../../lib/http/calls/body-memory.ts";
import { Freshness } from "../../../../lib/services/cluster/freshness.ts";
import type { Answer } from "../../../../lib/services/calls/call.ts";
import { FakeClock, settled } from "../../../support/fake-clock.ts";
import { rejectionOf, someFunction, someInvocation } from "../../../store/sqlite/support/stores.ts";

const LONG = 64 * 1024;
const TAIL = { "X-Amz-Log-Type": "Tail" };

/** The operations of a server whose function has versions 1 to 3 and always gives this answer; a route names version 2. */
function server({ type = "application/json", body = "{}" } = {}) {
  const fn = someFunction("f1", { name: "fn", version: 3, contract: "stdio" });
  const clock = new FakeClock();
  const bodyMemory = new BodyMemory({ clock, budget: 2 * LONG });
  const keys: IdempotentRequest[] = [];
  const endings: (() => void)[] = [];
  const logs = { read: async () => ({ entries: [{ text: "printed" }] }), ended: async () => undefined };
  const made = async ({ id }: { id: string }, key: IdempotentRequest) => {
    keys.push(key);
    const headers: ResponseHeader[] = [["content-type", type]];
    const answer: Answer = {
      invocation: someInvocation(id),
      response: { status: 200, headers, body: Buffer.from(body) },
    };
    return { answer, replayed: false, ended: Promise.resolve(someInvocation(id)) };
  };
  // All that the two operations use.
  const tools = {
    functions: {
      get: () => fn,
      at: (_fn: unknown, version: number) => ([2, 3].includes(version) ? { ...fn, version } : undefined),
      findVersion: async (_fn: unknown, version: number) => (version <= 3 ? { ...fn, version } : undefined),
    },
    freshness: new Freshness(null),
    bodyMemory,
    readBody: async (request: Request) => new Uint8Array(await request.arrayBuffer()),
    request_bytes: LONG,
    clientAddress: () => "192.0.2.1",
    clientUsesTls: () => false,
    server: () => ({ requestIP: () => ({}), timeout: () => undefined }),
    slowReaders: { follow: () => undefined },
    clock,
    invocations: { logs: () => logs.read(), ended: () => logs.ended(), undelivered: () => undefined },
    idempotentCalls: { invoke: made, stream: made, whenEnded: (_id: string, then: () => void) => endings.push(then) },
    abandoned: new AbandonedCalls(clock),
  } as unknown as AwsTools;
  let calls = 0;
  const asked = (scopes: Scope[], headers: Record<string, string>, subject: string, sent: string): AwsRequest => {
    const request = new Request("http://localhost/", {
      method: "POST",
      body: sent,
      headers: { ...headers, "Content-Length": String(sent.length) },
    });
    const caller: Caller = { key_id: "k", scopes, function_id: null };
    const guard = { callerOf: () => caller, refused: () => undefined };
    const id = `call-${++calls}`;
    return { request, id, subject, query: new URLSearchParams(), guard } as unknown as AwsRequest; // as above
  };
  const call = (scopes: Scope[], headers: Record<string, string> = {}, subject = "fn", sent = "{}") =>
    invoke(tools, asked(scopes, headers, subject, sent));
  const stream = (scopes: Scope[], headers: Record<string, string> = {}) =>
    invokeWithResponseStream(tools, asked(scopes, headers, "fn", "{}"));
  return { call, stream, keys, endings, logs, bodyMemory, clock };
}

test("what a function prints is for keys that may read it", async () => {
  const { call, stream } = server();
  const tailOf = async (scopes: Scope[]) => (await call(scopes, TAIL)).headers.get("x-amz-log-result");
  expect(await tailOf(["invoke"])).toBeNull();
  expect(await tailOf(["invoke", "read"])).toBe(btoa("printed"));
  const endOf = async (scopes: Scope[]) => (await stream(scopes, TAIL)).text();
  expect(await endOf(["invoke"])).not.toContain("LogResult");
  expect(await endOf(["admin"])).toContain(`"LogResult":"${btoa("printed")}"`);
});

describe.each(["call", "stream"] as const)("with LogType Tail the answer (%s)", (way) => {
  const tailOf = async (made: Promise<Response>) => {
    const response = await made;
    const text = await response.text();
    return response.headers.get("x-amz-log-result") ?? text;
  };

  test("waits until the call has ended, and has what was printed by then", async () => {
    const { [way]: make, logs, clock } = server();
    const ended = Promise.withResolvers<undefined>();
    logs.ended = () => ended.promise;
    const tail = tailOf(make(["admin"], TAIL));
    await settled();
    expect(Bun.peek.status(tail)).toBe("pending");
    logs.read = async () => ({ entries: [{ text: "printed late" }] });
    ended.resolve(undefined);
    expect(await tail).toContain(btoa("printed late"));
    expect(clock.pending).toBe(0);
  });

  test("has what was printed so far if the call does not end in time", async () => {
    const { [way]: make, logs, clock } = server();
    logs.ended = () => Promise.withResolvers<undefined>().promise;
    const tail = tailOf(make(["admin"], TAIL));
    await settled();
    await clock.advance(10_000);
    expect(await tail).toContain(btoa("printed"));
  });

  test("waits for nothing without it", async () => {
    const { [way]: make, logs } = server();
    logs.ended = () => Promise.reject(new Error("It has waited"));
    expect((await (await make(["admin"])).text()).length).toBeGreaterThan(0);
  });
});

test.each(["call", "stream"] as const)(
  "an answer that is there is given without room and database (%s)",
  async (way) => {
    const { [way]: make, logs, bodyMemory } = server({ body: "x".repeat(LONG) });
    logs.read = () => Promise.reject(new AppError("database_unavailable", "away"));
    bodyMemory.hold(2 * LONG - 2);
    expect((await make(["admin"], TAIL)).status).toBe(200);
    // The answer, and a request of 2 bytes, which is held until its call has ended.
    expect(bodyMemory.used).toBe(3 * LONG);
  },
);

test("a request is held until its call has ended, also when its client has gone", async () => {
  const { call, endings, bodyMemory } = server();
  await call(["invoke"]);
  expect(bodyMemory.used).toBe(2);
  for (const end of endings) end();
  expect(bodyMemory.used).toBe(0);
});

test("what goes wrong after a call has been made is no reason for a second run", async () => {
  const { call, keys } = server({ type: "no\ntype" });
  await rejectionOf(call(["invoke"]));
  await rejectionOf(call(["invoke"]));
  expect(keys.map(({ key }) => key)).toEqual([keys[0]?.key ?? "", keys[0]?.key ?? ""]);
  // The first one may do without a database; the next must find the first.
  expect(keys.map(({ is_optional }) => is_optional)).toEqual([true, undefined]);
  const other = server();
  for (const headers of [{}, {}, { "amz-sdk-invocation-id": "a" }]) await other.call(["invoke"], headers);
  expect(new Set(other.keys.map(({ key }) => key)).size).toBe(3);
  expect(other.keys.map(({ is_optional }) => is_optional)).toEqual([true, true, undefined]);
});

test("a key that can only call gets the current version and those of routes, and learns nothing of others", async () => {
  const { call } = server();
  const versionOf = async (scopes: Scope[], subject: string) =>
    (await call(scopes, {}, subject)).headers.get("x-amz-executed-version");
  for (const version of ["2", "3", "$LATEST"]) expect(await versionOf(["invoke"], `fn:${version}`)).toBe(version);
  for (const version of ["1", "7", "prod"]) {
    const error = await rejectionOf(call(["invoke"], {}, `fn:${version}`));
    expect(error).toMatchObject({ reason: "not_found", error: "ResourceNotFoundException" });
    expect(String(error)).toContain(`there is no version "${version}" that this key may call`);
    expect(String(error)).not.toMatch(/latest|arn:/);
  }
  for (const scope of ["read", "deploy", "admin"] as const)
    expect(await versionOf(["invoke", scope], "fn:1")).toBe("1");
});
