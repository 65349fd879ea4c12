import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import type { NewKey, Scope } from "../../../lib/domain/keys.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

type Headers = Record<string, string>;
const bearer = (token: string): Headers => ({ Authorization: `Bearer ${token}` });
const ADMIN = bearer("the-key");

let server: TestServer;
let one: NewKey;
let other: NewKey;
let reader: NewKey;

beforeAll(async () => {
  server = await TestServer.start({ API_KEY: "the-key" });
  const image = await fixture("static");
  const name = "work";
  const retry = { max_attempts: 1, min_ms: 0, max_ms: 0, on: [] };
  expectSuccess(await server.api("POST", "/v1/functions", { image, name, retry }, ADMIN), 201);
  [one, other, reader] = await Promise.all([makeKey(["invoke"]), makeKey(["invoke"]), makeKey(["invoke", "read"])]);
});
afterAll(() => server[Symbol.asyncDispose]());

async function makeKey(scopes: readonly Scope[]): Promise<NewKey> {
  return expectSuccess(await server.api<NewKey>("POST", "/v1/keys", { name: "k", scopes }, ADMIN), 201);
}

/** Sends an asynchronous call that waits for an hour. */
function submit(headers: Headers, query = "", body: unknown = {}) {
  const path = `/v1/functions/work/invoke?async=true&delay_ms=3600000${query}`;
  return server.api<Invocation>("POST", path, body, headers);
}

const submitted = async (headers: Headers) => expectSuccess(await submit(headers), 202);
const act = (id: string, action: string, headers: Headers) =>
  server.api<Invocation>("POST", `/v1/invocations/${id}/${action}`, undefined, headers);

describe("B9: a key with the scope invoke", () => {
  test.each(["cancel", "replay", "callback"])("may not %s what others made", async (action) => {
    for (const maker of [ADMIN, bearer(other.token)]) {
      const { id } = await submitted(maker);
      for (const caller of [one, reader]) {
        expectError(await act(id, action, bearer(caller.token)), {
          status: 403,
          reason: "forbidden",
          message:
            'This key may only act on invocations that were made with it: send that key, or one with the scope "admin"',
        });
      }
      expectSuccess(await act(id, "cancel", ADMIN));
    }
  });

  test("may cancel and replay what it made itself, and the record names it", async () => {
    const { id, key_id } = await submitted(bearer(one.token));
    expect(key_id).toBe(one.id);
    const replay = expectSuccess(await act(id, "replay", bearer(one.token)), 202);
    expect(replay).toMatchObject({ key_id: one.id, replay_of: id });
    for (const each of [id, replay.id]) {
      const reply = await act(each, "cancel", bearer(one.token));
      expect(reply.status).toBeOneOf([200, 409]);
    }
    const replayed = expectSuccess(await act(id, "replay", ADMIN), 202);
    expect(replayed.key_id).toBe("server");
  });

  test("replays in bulk what it made itself", async () => {
    const die = { do: "exit", code: 3 };
    const ids: string[] = [];
    for (const { token } of [one, other]) {
      const path = "/v1/functions/work/invoke?async=true";
      const { id } = expectSuccess(await server.api<Invocation>("POST", path, die, bearer(token)), 202);
      const ended = await server.api<Invocation>("GET", `/v1/invocations/${id}?wait=30s`, undefined, ADMIN);
      expect(expectSuccess(ended).status).toBe("dead");
      ids.push(id);
    }
    const bulk = async (headers: Headers) => {
      const path = "/v1/invocations/replay";
      const reply = await server.api<{ invocations: Invocation[]; left: number }>(
        "POST",
        path,
        { status: "dead" },
        headers,
      );
      const { invocations, left } = expectSuccess(reply, 202);
      return { of: invocations.map(({ replay_of }) => replay_of), left };
    };
    expect(await bulk(bearer(reader.token))).toEqual({ of: [], left: 0 });
    expect(await bulk(bearer(one.token))).toEqual({ of: [ids[0] ?? ""], left: 0 });
    expect((await bulk(ADMIN)).of).toContain(ids[1] ?? "");
  });

  test.each(["1", "100"])("may not push others back with priority %s", async (priority) => {
    const refused = await submit(bearer(one.token), `&priority=${priority}`);
    expectError(refused, {
      status: 403,
      reason: "forbidden",
      message: `The priority ${priority} needs a key with the scope "admin": leave it out, or give one from -100 to 0`,
    });
    expect(expectSuccess(await submit(ADMIN, `&priority=${priority}`), 202).priority).toBe(Number(priority));
  });

  test.each(["0", "-100"])("may give priority %s", async (priority) => {
    expect(expectSuccess(await submit(bearer(one.token), `&priority=${priority}`), 202).priority).toBe(
      Number(priority),
    );
  });
});

test("B4: an Idempotency-Key belongs to the key or the public route that it came with", async () => {
  const route = { path: "/shop", function_id: "work", async: true };
  expectSuccess(await server.api("POST", "/v1/routes", route, ADMIN));
  const idempotent = { "Idempotency-Key": "order-17" };
  // The stranger is first, with a body of its own.
  const stranger = await server.api<Invocation>(
    "POST",
    "/r/shop",
    { from: "a stranger" },
    { ...idempotent, Prefer: "respond-async" },
  );
  const { id } = expectSuccess(stranger, 202);
  const seen = new Set([id]);
  for (const headers of [ADMIN, bearer(one.token), bearer(other.token)]) {
    const sent = { ...headers, ...idempotent };
    const first = expectSuccess(await submit(sent, "", { order: 17 }), 202);
    seen.add(first.id);
    expect(expectSuccess(await submit(sent, "", { order: 17 }), 202).id).toBe(first.id);
    expectError(await submit(sent, "", { order: 18 }), { status: 422, reason: "idempotency_mismatch" });
  }
  expect(seen.size).toBe(4);
});
