import { Database as Sqlite } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { GroupCommit } from "../../../../lib/store/sqlite/database/group-commit.ts";
import type { Sync } from "../../../../lib/store/sqlite/database/log-sync.ts";
import { rejectionOf } from "../support/stores.ts";

/** A disk whose syncs end when the test decides. */
class SlowDisk implements Sync {
  readonly #syncs: PromiseWithResolvers<void>[] = [];
  #started = Promise.withResolvers<void>();
  syncedNow = 0;

  sync(): Promise<void> {
    const sync = Promise.withResolvers<void>();
    this.#syncs.push(sync);
    this.#started.resolve();
    return sync.promise;
  }

  syncNow(): void {
    this.syncedNow += 1;
  }

  /** Waits until a sync has begun; the result ends it, with an error if it is given one. */
  async next(): Promise<(error?: Error) => void> {
    await this.#started.promise;
    this.#started = Promise.withResolvers();
    const sync = this.#syncs.shift();
    return (error) => (error === undefined ? sync?.resolve() : sync?.reject(error));
  }

  [Symbol.dispose](): void {}
}

/** A table of keys, with the answers that their callers got. */
function withDisk() {
  const sqlite = new Sqlite(":memory:", { strict: true });
  sqlite.run("create table keys (key text primary key)");
  const disk = new SlowDisk();
  const group = new GroupCommit(sqlite, disk);
  const events: string[] = [];
  const keys = () =>
    sqlite
      .query<{ key: string }, []>("select key from keys order by rowid")
      .all()
      .map(({ key }) => key);
  const write = async (key: string) => {
    const work = () => sqlite.query("insert into keys values (?)").run(key);
    await group
      .add(work, () => events.push(`committed ${key}`))
      .then(
        () => events.push(`answered ${key}`),
        (error: Error) => events.push(`refused ${key}: ${error.message}`),
      );
  };
  return { disk, group, events, keys, write };
}

/** Keeps this thread busy. */
function busyFor(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe("GroupCommit", () => {
  test("answers after the sync of its commit, and collects the next group meanwhile", async () => {
    const { disk, events, keys, write } = withDisk();
    const first = [write("a"), write("b")];
    const endFirst = await disk.next();
    expect([keys(), events]).toEqual([
      ["a", "b"],
      ["committed a", "committed b"],
    ]);
    const second = [write("c"), write("d")];
    await new Promise((resolve) => setImmediate(resolve));
    expect(keys()).toEqual(["a", "b"]);
    endFirst();
    await Promise.all(first);
    expect(events.splice(0)).toEqual(["committed a", "committed b", "answered a", "answered b"]);
    (await disk.next())();
    await Promise.all(second);
    expect(events).toEqual(["committed c", "committed d", "answered c", "answered d"]);
  });

  test("a burst that takes longer than a sync is committed before the event loop comes round, so that the disk works meanwhile", async () => {
    const { disk, events, write } = withDisk();
    const first = write("a");
    (await disk.next())();
    await first;
    // That sync was over at once. Nothing here lets the event loop come round.
    const burst = ["b", "c", "d"].map((key) => {
      busyFor(20);
      return write(key);
    });
    busyFor(20);
    burst.push(write("e"));
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    expect(events).toEqual(["committed a", "answered a", "committed b", "committed c", "committed d", "committed e"]);
    (await disk.next())();
    await Promise.all(burst);
    expect(events.slice(6)).toEqual(["answered b", "answered c", "answered d", "answered e"]);
  });

  test("a burst that is shorter than a sync is committed as a whole, when the event loop comes round", async () => {
    const { disk, events, write } = withDisk();
    const first = write("a");
    const end = await disk.next();
    busyFor(200);
    end();
    await first;
    const burst = ["b", "c"].map(write);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    expect(events).toEqual(["committed a", "answered a"]);
    (await disk.next())();
    await Promise.all(burst);
    expect(events.slice(2)).toEqual(["committed b", "committed c", "answered b", "answered c"]);
  });

  test("rejects at once the writes that the commit has refused, and syncs nothing if there were no others", async () => {
    const { disk, events, write } = withDisk();
    const first = write("a");
    const end = await disk.next();
    end();
    await first;
    await write("a");
    expect(events.at(-1)).toBe("refused a: UNIQUE constraint failed: keys.key");
    const last = write("b");
    (await disk.next())();
    await last;
    expect(events.at(-1)).toBe("answered b");
  });

  test("a sync that fails rejects all writes that waited for it, and all later ones: they would build on what may not be on the disk", async () => {
    const { disk, events, write } = withDisk();
    const asked = [write("a"), write("b")];
    (await disk.next())(new Error("on purpose"));
    await Promise.all(asked);
    expect(events.slice(2)).toEqual(["refused a: on purpose", "refused b: on purpose"]);
    await write("c");
    expect(events.at(-1)).toContain("refused c: Nothing can be written any more");
  });

  test("a disk without room at the sync is storage_full", async () => {
    const { disk, group } = withDisk();
    const refused = rejectionOf(group.add(() => undefined));
    (await disk.next())(Object.assign(new Error("no space left on device"), { code: "ENOSPC" }));
    expect(await refused).toMatchObject({ reason: "storage_full" });
  });

  test("flush writes and syncs everything that waits or is under way, and answers every caller once", async () => {
    const { disk, group, events, keys, write } = withDisk();
    const first = write("a");
    const end = await disk.next();
    const second = write("b");
    group.flush();
    await Promise.all([first, second]);
    expect([keys(), disk.syncedNow]).toEqual([["a", "b"], 1]);
    expect(events).toEqual(["committed a", "committed b", "answered a", "answered b"]);
    end(new Error("too late to matter"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toHaveLength(4);
    group.flush();
    expect(disk.syncedNow).toBe(1);
  });
});
