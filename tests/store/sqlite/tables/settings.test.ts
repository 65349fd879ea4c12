import { expect, test } from "bun:test";
import { newStore, scratchDirectory, stillClock } from "../support/stores.ts";

test("ownerId: made once, and kept", () => {
  using scratch = scratchDirectory();
  const path = scratch.file("database.db");
  const clock = stillClock();
  let first: string;
  {
    using store = newStore(path, clock);
    first = store.settings.ownerId();
    expect(store.settings.ownerId()).toBe(first);
  }
  using store = newStore(path, clock);
  expect(store.settings.ownerId()).toBe(first);
  using other = newStore(":memory:", clock);
  expect(other.settings.ownerId()).not.toBe(first);
});

test("apiKeyHash: null until it was set", () => {
  using store = newStore();
  expect(store.settings.apiKeyHash()).toBeNull();
  store.settings.setApiKeyHash("one");
  store.settings.setApiKeyHash("two");
  expect(store.settings.apiKeyHash()).toBe("two");
});
