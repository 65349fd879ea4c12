import { expect, test } from "bun:test";
import { apiKey, hashKey } from "../../lib/services/api-key.ts";
import { newStore } from "../store/support.ts";

test("hashKey is SHA-256 in hex", () => {
  expect(hashKey("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("apiKey makes a key where one is needed, once", () => {
  using store = newStore();
  const first = apiKey(store.settings, { given: null, needed: true });
  expect(first.made).toMatch(/^slipway_[\w-]{43}$/);
  expect(first.hash).toBe(hashKey(first.made ?? ""));
  expect(apiKey(store.settings, { given: null, needed: true })).toEqual({ hash: first.hash, made: undefined });
});

test("apiKey makes none where none is needed, but remembers one", () => {
  using store = newStore();
  expect(apiKey(store.settings, { given: null, needed: false })).toEqual({ hash: undefined, made: undefined });
  const { hash } = apiKey(store.settings, { given: null, needed: true });
  expect(apiKey(store.settings, { given: null, needed: false })).toEqual({ hash, made: undefined });
});

test("apiKey takes the one that is given, and stores nothing", () => {
  using store = newStore();
  const given = { hash: hashKey("given"), made: undefined };
  expect(apiKey(store.settings, { given: "given", needed: true })).toEqual(given);
  expect(store.settings.apiKeyHash()).toBeNull();
});

test("apiKey makes no two alike", () => {
  using one = newStore();
  using two = newStore();
  const made = [one, two].map((store) => apiKey(store.settings, { given: null, needed: true }).made);
  expect(new Set(made).size).toBe(2);
});
