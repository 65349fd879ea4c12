import { expect, test } from "bun:test";
import { keepServerKey, serverKey } from "../../../lib/services/access/server-key.ts";
import { hashToken } from "../../../lib/services/access/tokens.ts";
import { newStore } from "../../store/sqlite/support/stores.ts";

test("hashToken is SHA-256 in hex", () => {
  expect(hashToken("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("serverKey makes a key if one is needed, which is that of later starts once it is kept", async () => {
  using store = newStore();
  const given = { given: null, needed: true };
  const first = serverKey(store.settings, given);
  expect(first.made).toMatch(/^slipway_[\w-]{43}$/);
  expect(first.hash).toBe(hashToken(first.made ?? ""));
  expect(serverKey(store.settings, given).made).toMatch(/^slipway_/);
  await keepServerKey(store.settings, first);
  expect(serverKey(store.settings, given)).toEqual({ hash: first.hash, made: undefined });
});

test("serverKey makes none if none is needed, but remembers one", async () => {
  using store = newStore();
  const none = { hash: undefined, made: undefined };
  expect(serverKey(store.settings, { given: null, needed: false })).toEqual(none);
  await keepServerKey(store.settings, none);
  const made = serverKey(store.settings, { given: null, needed: true });
  await keepServerKey(store.settings, made);
  expect(serverKey(store.settings, { given: null, needed: false })).toEqual({ hash: made.hash, made: undefined });
});

test("serverKey uses a given key, and keepServerKey stores nothing of it", async () => {
  using store = newStore();
  const given = { hash: hashToken("given"), made: undefined };
  expect(serverKey(store.settings, { given: "given", needed: true })).toEqual(given);
  await keepServerKey(store.settings, given);
  expect(store.settings.apiKeyHash()).toBeNull();
});

test("serverKey never makes the same key twice", () => {
  using one = newStore();
  using two = newStore();
  const made = [one, two].map((store) => serverKey(store.settings, { given: null, needed: true }));
  expect(new Set(made.map((key) => key.made)).size).toBe(2);
});
