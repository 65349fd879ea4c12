import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createHash } from "node:crypto";
import { AppError } from "../../../lib/domain/errors.ts";
import type { Scope } from "../../../lib/domain/keys.ts";
import { KeyService } from "../../../lib/services/access/keys.ts";
import { hashToken, newToken } from "../../../lib/services/access/tokens.ts";
import { listeningLog, newStore, someFunction } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const DEPLOY: { name: string; scopes: Scope[] } = { name: "ci", scopes: ["deploy"] };

async function setUp({ server_key }: { server_key?: string } = {}) {
  const store = newStore();
  const clock = new FakeClock();
  const { log, events } = listeningLog();
  await store.functions.insert(someFunction("f1", { name: "hello" }));
  const functions = {
    get: (idOrName: string) => {
      const found = store.functions.find(idOrName);
      if (found === undefined) throw new AppError("not_found", "No such function");
      return found;
    },
  };
  const server_hash = server_key === undefined ? undefined : hashToken(server_key);
  const keys = new KeyService({ store: store.keys, functions, clock, log, server_hash });
  const writes: (readonly [string, string])[][] = [];
  const noteUses = store.keys.noteUses.bind(store.keys);
  store.keys.noteUses = (uses) => {
    writes.push([...uses]);
    return noteUses(uses);
  };
  return { store, clock, events, keys, writes, [Symbol.dispose]: () => store[Symbol.dispose]() };
}

describe("KeyService.identify", () => {
  test("identifies the caller of a token", async () => {
    using set = await setUp({ server_key: "the-key" });
    const made = await set.keys.create(DEPLOY);
    expect(set.keys.identify(made.token)).toEqual({
      caller: { key_id: made.id, scopes: ["deploy"], function_id: null },
    });
    expect(set.keys.identify("the-key")).toEqual({
      caller: { key_id: "server", scopes: ["admin"], function_id: null },
    });
  });

  test("accepts every token that was created, and no other", async () => {
    using set = await setUp();
    const made = await Promise.all(Array.from({ length: 20 }, (_, i) => set.keys.create({ ...DEPLOY, name: `k${i}` })));
    const owner = new Map(made.map(({ token, id }) => [token, id]));
    const near = fc
      .tuple(fc.constantFrom(...owner.keys()), fc.nat({ max: 50 }), fc.string({ minLength: 1, maxLength: 1 }))
      .map(([token, at, letter]) => token.slice(0, at) + letter + token.slice(at + 1));
    const hashes = fc.constantFrom(...owner.keys()).map(hashToken);
    const any = fc.oneof(fc.constantFrom(...owner.keys()), near, hashes, fc.string(), fc.constant("").map(newToken));
    fc.assert(
      fc.property(any, (token) => {
        const verdict = set.keys.identify(token);
        const id = "caller" in verdict ? verdict.caller.key_id : undefined;
        expect(id).toBe(owner.get(token));
      }),
    );
  });

  test("refuses a key from the moment it is revoked, and says so", async () => {
    using set = await setUp();
    const { id, token } = await set.keys.create(DEPLOY);
    set.keys.identify(token);
    const revoked = await set.keys.revoke(id);
    expect(revoked.revoked_at).toBe("2026-01-31T12:00:00.000Z");
    const refusal = {
      refused: "dead",
      key_id: "00000000-0000-4000-8000-000000000001",
      message:
        'The API key "ci" was revoked at 2026-01-31T12:00:00.000Z: send another, which an administrator makes with POST /v1/keys',
    };
    expect(set.keys.identify(token)).toEqual(refusal as ReturnType<typeof set.keys.identify>);
    await set.clock.advance(1_000);
    // A second time changes nothing.
    expect(await set.keys.revoke(id)).toEqual(revoked);
  });

  test("refuses a key from the moment it expires, and says so", async () => {
    using set = await setUp();
    const { token } = await set.keys.create({ ...DEPLOY, expires_at: "2026-01-31T14:00:00+01:00" });
    await set.clock.advance(3_599_999);
    expect(set.keys.identify(token)).toHaveProperty("caller");
    await set.clock.advance(1);
    expect(set.keys.identify(token)).toMatchObject({
      refused: "dead",
      message: expect.stringContaining('"ci" expired at 2026-01-31T13:00:00.000Z'),
    });
  });

  test("forgets the key of a deleted function", async () => {
    using set = await setUp();
    const { token } = await set.keys.create({ name: "caller", scopes: ["invoke"], function_id: "hello" });
    expect(set.keys.identify(token)).toMatchObject({ caller: { function_id: "f1" } });
    await set.store.functions.delete("f1", { cascade: false });
    expect(set.keys.identify(token)).toMatchObject({ refused: "none" });
    expect(set.keys.list()).toEqual([]);
  });

  test("distinguishes a wrong key from a server that has none", async () => {
    using set = await setUp();
    expect(set.keys.identify("x")).toMatchObject({ refused: "none" });
    await set.keys.create(DEPLOY);
    expect(set.keys.identify("x")).toMatchObject({ refused: "wrong" });
  });
});

describe("KeyService and last uses", () => {
  test("writes them at most once a minute, all together, and shows them before that", async () => {
    using set = await setUp();
    const one = await set.keys.create(DEPLOY);
    const other = await set.keys.create({ ...DEPLOY, name: "other" });
    expect(set.keys.get(one.id).last_used_at).toBeNull();
    for (let second = 0; second < 59; second++) {
      set.keys.identify(one.token);
      if (second === 30) set.keys.identify(other.token);
      await set.clock.advance(1_000);
    }
    expect(set.keys.get(one.id).last_used_at).toBe("2026-01-31T12:00:58.000Z");
    expect(set.keys.list().map((key) => key.last_used_at)).toEqual([
      "2026-01-31T12:00:58.000Z",
      "2026-01-31T12:00:30.000Z",
    ]);
    expect([set.writes.length, set.store.keys.get(one.id)?.last_used_at]).toEqual([0, null]);
    await set.clock.advance(1_000);
    expect(set.writes.map((uses) => uses.length)).toEqual([2]);
    expect(set.store.keys.get(one.id)?.last_used_at).toBe("2026-01-31T12:00:58.000Z");
    await set.clock.advance(600_000);
    expect([set.writes.length, set.clock.pending]).toEqual([1, 0]);
  });

  test("writes the remaining ones when the server stops", async () => {
    using set = await setUp();
    const { id, token } = await set.keys.create(DEPLOY);
    set.keys.identify(token);
    await set.keys[Symbol.asyncDispose]();
    expect(set.store.keys.get(id)?.last_used_at).toBe("2026-01-31T12:00:00.000Z");
    expect(set.clock.pending).toBe(0);
  });

  test("keeps them while the database refuses, and tries again", async () => {
    using set = await setUp();
    const { id, token } = await set.keys.create(DEPLOY);
    const write = set.store.keys.noteUses.bind(set.store.keys);
    set.store.keys.noteUses = () => Promise.reject(new AppError("storage_full", "full"));
    set.keys.identify(token);
    await set.clock.advance(60_000);
    expect(set.events.at(-1)).toMatchObject({ level: "warn" });
    set.store.keys.noteUses = write;
    set.keys.identify(token);
    await set.clock.advance(60_000);
    expect(set.store.keys.get(id)?.last_used_at).toBe("2026-01-31T12:01:00.000Z");
  });
});

test("a token has 256 bits and is nowhere in the database", async () => {
  using set = await setUp();
  const { id, token } = await set.keys.create(DEPLOY);
  expect(token).toMatch(/^slipway_[\w-]{43}$/);
  expect(newToken()).not.toBe(newToken());
  expect(JSON.stringify([set.keys.get(id), set.store.keys.findByHash(hashToken(token))])).not.toContain(token);
  expect(set.store.keys.findByHash(hashToken(token))?.hash).toBe(createHash("sha256").update(token).digest("hex"));
});

test("KeyService.create makes room by forgetting dead keys, and refuses if there are none", async () => {
  using set = await setUp();
  const { id } = await set.keys.create(DEPLOY);
  const count = set.store.keys.count.bind(set.store.keys);
  set.store.keys.count = () => count() + 9_999;
  const refusal: unknown = await set.keys.create(DEPLOY).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ reason: "conflict", message: "There are 10000 keys already: revoke some" });
  await set.keys.revoke(id);
  const { name } = await set.keys.create({ ...DEPLOY, name: "next" });
  expect(set.keys.list().map((key) => key.name)).toEqual([name]);
});
