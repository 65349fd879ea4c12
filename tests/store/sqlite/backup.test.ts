import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { backup } from "../../../lib/store/sqlite/backup.ts";
import { StoreError } from "../../../lib/store/errors.ts";
import { newStore, scratchDirectory, someFunction, someInvocation, thrownBy } from "./support/stores.ts";

describe("backup", () => {
  test("copies the data of a running server, and the copy opens as a database", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    const copy = scratch.file("copy.db");
    let owner: string;
    {
      using store = newStore(path);
      owner = await store.settings.ownerId();
      await store.functions.insert(someFunction("f1"));
      await store.tables.invocations.save([{ invocation: someInvocation("i1") }]);
      backup(path, copy);
      await store.functions.insert(someFunction("after"));
    }
    expect(statSync(copy).mode & 0o777).toBe(0o600);
    expect(readdirSync(scratch.path).filter((name) => name.includes("copy"))).toEqual(["copy.db"]);
    using restored = newStore(copy);
    expect(restored.functions.list().map(({ id }) => id)).toEqual(["f1"]);
    expect(restored.tables.invocations.get("i1")).toBeDefined();
    expect(await restored.settings.ownerId()).toBe(owner);
  });

  test("copies a consistent state while another process writes", async () => {
    using scratch = scratchDirectory();
    const child = Bun.spawn([process.execPath, `${import.meta.dir}/support/writer.ts`, scratch.path]);
    const lines = child.stdout.getReader();
    await lines.read();
    for (const name of ["one", "two", "three"]) {
      await lines.read();
      backup(scratch.file("database.db"), scratch.file(name));
    }
    lines.releaseLock();
    child.kill("SIGKILL");
    await child.exited;
    let earlier = 0;
    for (const name of ["one", "two", "three"]) {
      using store = newStore(scratch.file(name));
      expect(store.functions.count()).toBeGreaterThanOrEqual(earlier);
      earlier = store.functions.count();
      for (const { function: to, path } of store.routes.list()) expect(path).toBe(`/${to.id}`);
    }
    expect(earlier).toBeGreaterThan(0);
  });

  test("copies the data of a stopped server", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    {
      using store = newStore(path);
      await store.functions.insert(someFunction("f1"));
    }
    backup(path, scratch.file("copy.db"));
    using copy = newStore(scratch.file("copy.db"));
    expect(copy.functions.count()).toBe(1);
  });

  test.each<[what: string, prepare: (at: (name: string) => string) => void, message: string]>([
    ["an existing file", (at) => writeFileSync(at("copy.db"), "mine"), "exists already: choose another name"],
    ["a missing directory", () => undefined, "Cannot write the copy"],
  ])("refuses %s, and leaves nothing behind", async (what, prepare, message) => {
    using scratch = scratchDirectory();
    using store = newStore(scratch.file("database.db"));
    await store.settings.ownerId();
    mkdirSync(scratch.file("to"));
    prepare((name) => scratch.file(`to/${name}`));
    const before = readdirSync(scratch.file("to"));
    const target = scratch.file(what === "a missing directory" ? "to/none/copy.db" : "to/copy.db");
    const error = thrownBy(() => backup(scratch.file("database.db"), target));
    expect(error).toBeInstanceOf(StoreError);
    // One by one: Bun's toMatchObject puts an asymmetric matcher in place of the property that it matched.
    const said = error instanceof Error ? error.message : "";
    expect(said).toContain(message);
    expect(said).toContain(JSON.stringify(target));
    expect(readdirSync(scratch.file("to"))).toEqual(before);
    if (before.length > 0) expect(readFileSync(target, "utf8")).toBe("mine");
  });

  test.each<[what: string, content: string | undefined, message: string]>([
    ["no database", undefined, "There is no database"],
    ["an empty one", "", "is empty: there is nothing to copy"],
    ["something else", "hello world\n".repeat(100), "is not a SQLite database"],
  ])("refuses to copy %s", (_, content, message) => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    if (content !== undefined) writeFileSync(path, content);
    const error = thrownBy(() => backup(path, scratch.file("copy.db")));
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ message: expect.stringContaining(message) });
    expect(readdirSync(scratch.path).includes("copy.db")).toBe(false);
  });
});
