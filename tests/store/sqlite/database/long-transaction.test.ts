import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { StaleError } from "../../../../lib/store/errors.ts";
import { databasePath, type SqliteStore } from "../../../../lib/store/sqlite/store.ts";
import { newStore, rejectionOf, scratchDirectory, someFunction, someInvocation } from "../support/stores.ts";

// B5: a manifest of thousands of functions is written in one transaction that lets the event loop go on.

const COUNT = 1_000;
const functions = Array.from({ length: COUNT }, (_, n) => {
  const after = someFunction(`many-${n}`, { name: `many-${n}` });
  return { name: after.id, after };
});

let scratch: ReturnType<typeof scratchDirectory>;
let store: SqliteStore;

beforeEach(() => {
  scratch = scratchDirectory();
  store = newStore(databasePath(scratch.path));
});

afterEach(() => {
  store[Symbol.dispose]();
  scratch[Symbol.dispose]();
});

const apply = (dry_run = false) =>
  store.applyManifest({ functions, routes: [] }, { revision: store.revision, dry_run });

/** Counts the functions that a reader sees at each turn of the event loop until the promise settles. */
async function countsUntil(done: Promise<unknown>): Promise<number[]> {
  const counts: number[] = [];
  let going = true;
  void done.catch(() => undefined).then(() => (going = false));
  while (going) {
    counts.push(store.functions.count());
    await new Promise((resolve) => setImmediate(resolve));
  }
  return counts;
}

describe("a manifest of many functions", () => {
  test("lets others have their turns, and is there as a whole or not at all", async () => {
    const counts = await countsUntil(apply());
    expect(counts.length).toBeGreaterThan(5);
    expect([...new Set(counts)].filter((count) => count !== 0 && count !== COUNT)).toEqual([]);
    expect((await store.functions.all()).map(({ id }) => id).toSorted()).toEqual(
      functions.map(({ name }) => name).toSorted(),
    );
    expect(store.functions.find("many-7")?.id).toBe("many-7");
    expect(await store.versions.find("many-7", 1)).toBeDefined();
  });

  test("lets writes of others wait, which see it then", async () => {
    const applied = apply();
    await open(applied);
    const inserted = store.functions.insert(someFunction("other")).then(() => store.functions.count());
    const saved = store.history.save([{ invocation: someInvocation("i1") }]).then(() => store.functions.count());
    expect(store.functions.count()).toBe(0);
    await applied;
    expect(await saved).toBeGreaterThanOrEqual(COUNT);
    expect(await inserted).toBe(COUNT + 1);
  });

  test("is refused if something was changed since it was based on it", async () => {
    const { revision } = store;
    await store.functions.insert(someFunction("other"));
    const applied = store.applyManifest({ functions, routes: [] }, { revision, dry_run: false });
    expect(await rejectionOf(applied)).toBeInstanceOf(StaleError);
    expect(store.functions.count()).toBe(1);
  });

  test("leaves nothing in a dry run, or if one of them is refused", async () => {
    await apply(true);
    expect(store.functions.count()).toBe(0);
    const twice = [...functions, { name: "again", after: someFunction("again", { name: "many-3" }) }];
    const applied = store.applyManifest({ functions: twice, routes: [] }, { revision: store.revision, dry_run: false });
    expect(await rejectionOf(applied)).toMatchObject({ reason: "conflict" });
    expect(store.functions.count()).toBe(0);
    await apply();
    expect(store.functions.count()).toBe(COUNT);
  });

  test("is not there if the server stops before it is written as a whole", async () => {
    const applied = rejectionOf(apply());
    await open(applied);
    store[Symbol.dispose]();
    expect(await applied).toMatchObject({ reason: "shutting_down" });
    store = newStore(databasePath(scratch.path));
    expect(store.functions.count()).toBe(0);
  });
});

/** Waits until a write of another has to wait, which means that the transaction is open. */
async function open(applied: Promise<unknown>): Promise<void> {
  let isOver = false;
  const over = () => (isOver = true);
  applied.then(over, over);
  while (!isOver) {
    let isSaved = false;
    const saved = store.history.save([{ invocation: someInvocation(crypto.randomUUID()) }]);
    saved.then(
      () => (isSaved = true),
      () => undefined,
    );
    // Enough for a write that has not to wait.
    for (let n = 0; n < 10; n++) await Promise.resolve();
    if (!isSaved) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error("It was never seen open");
}

describe("a list of many functions", () => {
  test("is as of one moment, also while others keep changing them", async () => {
    await apply();
    let going = true;
    const changing = (async () => {
      for (let n = 0; going; n++) {
        // Two functions in one commit: every list has both changes, or neither.
        const [a, b] = [store.functions.get("many-0"), store.functions.get(`many-${COUNT - 1}`)];
        if (a === undefined || b === undefined) throw new Error("They are gone");
        const after = (fn: typeof a) => ({ ...fn, timeout_ms: 1_000 + n });
        await store.applyManifest(
          {
            functions: [a, b].map((before) => ({ name: before.id, before, after: after(before) })),
            routes: [],
          },
          { revision: store.revision, dry_run: false },
        );
      }
    })();
    for (let lists = 0; lists < 5; lists++) {
      const all = await store.functions.all();
      const times = new Map(all.map(({ id, timeout_ms }) => [id, timeout_ms]));
      expect(all).toHaveLength(COUNT);
      expect(times.get("many-0")).toBe(times.get(`many-${COUNT - 1}`) ?? 0);
    }
    going = false;
    await changing;
  });
});
