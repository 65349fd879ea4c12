import { expect, test } from "bun:test";
import { serverKey } from "../../../lib/services/access/server-key.ts";
import { hashToken } from "../../../lib/services/access/tokens.ts";
import { newStore } from "../../store/sqlite/support/stores.ts";

test("hashToken is SHA-256 in hex", () => {
  expect(hashToken("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("serverKey makes a key if one is needed, once", async () => {
  using store = newStore();
  const first = await serverKey(store.settings, { given: null, needed: true });
  expect(first.made).toMatch(/^slipway_[\w-]{43}$/);
  expect(first.hash).toBe(hashToken(first.made ?? ""));
  expect(await serverKey(store.settings, { given: null, needed: true })).toEqual({ hash: first.hash, made: undefined });
});

test("serverKey makes none if none is needed, but remembers one", async () => {
  using store = newStore();
  expect(await serverKey(store.settings, { given: null, needed: false })).toEqual({ hash: undefined, made: undefined });
  const { hash } = await serverKey(store.settings, { given: null, needed: true });
  expect(await serverKey(store.settings, { given: null, needed: false })).toEqual({ hash, made: undefined });
});

test("serverKey uses a given key, and stores nothing", async () => {
  using store = newStore();
  const given = { hash: hashToken("given"), made: undefined };
  expect(await serverKey(store.settings, { given: "given", needed: true })).toEqual(given);
  expect(store.settings.apiKeyHash()).toBeNull();
});

test("serverKey never makes the same key twice", async () => {
  using one = newStore();
  using two = newStore();
  const made = await Promise.all([one, two].map((store) => serverKey(store.settings, { given: null, needed: true })));
  expect(new Set(made.map((key) => key.made)).size).toBe(2);
});
