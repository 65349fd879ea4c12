import { expect, test } from "bun:test";
import { newStore, scratchDirectory, stillClock } from "../support/stores.ts";

test("ownerId: made once, and kept", async () => {
  using scratch = scratchDirectory();
  const path = scratch.file("database.db");
  const clock = stillClock();
  let first: string;
  {
    using store = newStore(path, clock);
    first = await store.settings.ownerId();
    expect(await store.settings.ownerId()).toBe(first);
  }
  using store = newStore(path, clock);
  expect(await store.settings.ownerId()).toBe(first);
  using other = newStore(":memory:", clock);
  expect(await other.settings.ownerId()).not.toBe(first);
});

test("apiKeyHash: null until it is set", async () => {
  using store = newStore();
  expect(store.settings.apiKeyHash()).toBeNull();
  await store.settings.setApiKeyHash("one");
  await store.settings.setApiKeyHash("two");
  expect(store.settings.apiKeyHash()).toBe("two");
});
