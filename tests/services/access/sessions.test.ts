import { expect, test } from "bun:test";
import type { Caller } from "../../../lib/domain/keys.ts";
import { EndedSessions } from "../../../lib/services/access/ended-sessions.ts";
import { KeyService } from "../../../lib/services/access/keys.ts";
import { SESSION_MS, SessionService } from "../../../lib/services/access/sessions.ts";
import { hashToken } from "../../../lib/services/access/tokens.ts";
import { listeningLog, newStore } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const SECRET = new Uint8Array(32).fill(7);

function setUp(serverKey = "the-key") {
  const store = newStore();
  const clock = new FakeClock();
  const { log } = listeningLog();
  const functions = { get: () => expect.unreachable() };
  const serviceWith = (key: string) =>
    new KeyService({ store: store.keys, functions, clock, log, server_hash: hashToken(key) });
  const keys = serviceWith(serverKey);
  /** The sessions of a server that starts with what the one before has stored. */
  const sessionsWith = (key: KeyService, secret = SECRET) =>
    new SessionService({ keys: key, clock, ended: new EndedSessions(store.settings), secret });
  const sessions = sessionsWith(keys);
  const open = (token: string): string => {
    const found = keys.identify(token);
    return "caller" in found ? sessions.open(found.caller, token) : expect.unreachable();
  };
  return {
    clock,
    store,
    keys,
    sessions,
    open,
    serviceWith,
    sessionsWith,
    [Symbol.dispose]: () => store[Symbol.dispose](),
  };
}

test("a session is as good as its key, for 12 hours", async () => {
  using set = setUp();
  const made = await set.keys.create({ name: "ci", scopes: ["read"] });
  const session = set.open(made.token);
  const caller: Caller = { key_id: made.id, scopes: ["read"], function_id: null };
  expect(set.sessions.identify(session)).toEqual(caller);
  expect(set.keys.get(made.id).last_used_at).not.toBeNull();
  await set.clock.advance(SESSION_MS - 1);
  expect(set.sessions.identify(session)).toEqual(caller);
  await set.clock.advance(1);
  expect(set.sessions.identify(session)).toBeUndefined();
});

test("a session ends with its key: when that is revoked or expires, and when the server gets another one", async () => {
  using set = setUp();
  const made = await set.keys.create({ name: "a", scopes: ["read"] });
  const expires_at = new Date(set.clock.now() + 60_000).toISOString();
  const short = await set.keys.create({ name: "b", scopes: ["read"], expires_at });
  const sessions = [set.open(made.token), set.open(short.token), set.open("the-key")];
  const valid = (service: SessionService) => sessions.map((one) => service.identify(one) !== undefined);
  expect(valid(set.sessions)).toEqual([true, true, true]);
  // After a restart the same ones hold, but with another key of the server.
  const later = (key: string) => set.sessionsWith(set.serviceWith(key));
  expect(valid(later("the-key"))).toEqual([true, true, true]);
  expect(valid(later("another"))).toEqual([true, true, false]);
  await set.keys.revoke(made.id);
  expect(valid(set.sessions)).toEqual([false, true, true]);
  await set.clock.advance(60_000);
  expect(valid(set.sessions)).toEqual([false, false, true]);
});

test("a session that was ended is over, also after a restart, and others of its key are not", async () => {
  using set = setUp();
  const [one, other] = [set.open("the-key"), set.open("the-key")];
  await set.sessions.end(one);
  await set.sessions.end("nonsense");
  for (const sessions of [set.sessions, set.sessionsWith(set.keys)])
    expect([sessions.identify(one), sessions.identify(other)?.key_id]).toEqual([undefined, "server"]);
});

test("a session is over from the call on that ends it, not from when that is on the disk", async () => {
  using set = setUp();
  const session = set.open("the-key");
  const ended = set.sessions.end(session);
  expect(set.sessions.identify(session)).toBeUndefined();
  await ended;
});

test("of more ended sessions than are remembered none is valid again; those that have expired are forgotten", async () => {
  using set = setUp();
  const first = set.open("the-key");
  await set.clock.advance(1);
  const openLater = async () => (await set.clock.advance(1), set.open("the-key"));
  const ended = [first];
  for (let i = 0; i < 1_001; i++) ended.push(await openLater());
  const open = await openLater();
  for (const session of ended) await set.sessions.end(session);
  for (const sessions of [set.sessions, set.sessionsWith(set.keys)]) {
    expect(ended.filter((session) => sessions.identify(session) !== undefined)).toEqual([]);
    expect(sessions.identify(open)?.key_id).toBe("server");
  }
  expect(set.store.settings.endedLogins()?.length).toBeLessThan(50_000);
  await set.clock.advance(SESSION_MS - 2);
  const last = set.open("the-key");
  await set.sessions.end(last);
  expect(set.store.settings.endedLogins()?.length).toBeLessThan(200);
});

test("whoever ends many sessions of a key ends older ones of that key alone", async () => {
  using set = setUp();
  const admins = set.open("the-key");
  const made = await set.keys.create({ name: "a", scopes: ["invoke"] });
  const older = set.open(made.token);
  await set.clock.advance(1);
  for (let i = 0; i < 1_001; i++) await set.sessions.end(set.open(made.token));
  expect(set.sessions.identify(older)).toBeUndefined();
  expect(set.sessions.identify(admins)?.key_id).toBe("server");
});

test("servers that share a database know each other's logouts, and those of an earlier version", async () => {
  using set = setUp();
  const [one, two, three] = [set.open("the-key"), set.open("the-key"), set.open("the-key")];
  const [, expires = "", nonce = ""] = three.split(".");
  const before = JSON.stringify({ until: 0, ended: [[nonce, Number(expires)]] });
  await set.store.settings.changeEndedLogins(() => before);
  const elsewhere = set.sessionsWith(set.keys);
  const known = () => [one, two, three].map((each) => elsewhere.identify(each) === undefined);
  expect(known()).toEqual([false, false, true]);
  await set.sessions.end(one);
  expect(known()).toEqual([true, false, true]);
  await elsewhere.end(two);
  expect(known()).toEqual([true, true, true]);
  expect(set.sessions.identify(one)).toBeUndefined();
  expect(set.sessions.identify(two)).toBeUndefined();
});

test("a session cannot be changed, forged or moved to another key or server", async () => {
  using set = setUp();
  const made = await set.keys.create({ name: "a", scopes: ["invoke"] });
  const session = set.open(made.token);
  const [id = "", expires = "", nonce = "", signature = ""] = session.split(".");
  const forged = [
    ["server", expires, nonce, signature],
    [id, String(Number(expires) + 1), nonce, signature],
    [id, expires, nonce.replace(/^./, (c) => (c === "A" ? "B" : "A")), signature],
    [id, expires, nonce, signature.replace(/^./, (c) => (c === "A" ? "B" : "A"))],
    [id, expires, nonce],
    [id, expires, nonce, signature, ""],
    ["", "", "", ""],
  ].map((parts) => parts.join("."));
  expect([...forged, "", "x".repeat(10_000)].filter((one) => set.sessions.identify(one) !== undefined)).toEqual([]);
  const elsewhere = set.sessionsWith(set.keys, new Uint8Array(32));
  expect(elsewhere.identify(session)).toBeUndefined();
});
