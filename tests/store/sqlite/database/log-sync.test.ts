import { describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { LogSync } from "../../../../lib/store/sqlite/database/log-sync.ts";
import { rejectionOf, scratchDirectory } from "../support/stores.ts";

/** The number of descriptors of this process that are open on a file. */
function descriptorsOf(path: string): number {
  return readdirSync("/proc/self/fd").filter((number) => {
    try {
      return readlinkSync(`/proc/self/fd/${number}`) === path;
    } catch {
      return false; // the one of the directory itself is gone by now
    }
  }).length;
}

describe("LogSync", () => {
  test("opens the file once, when it is first needed, and closes it in the end", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("log");
    const log = new LogSync(path);
    writeFileSync(path, "x");
    expect(descriptorsOf(path)).toBe(0);
    await Promise.all([log.sync(), log.sync()]);
    log.syncNow();
    expect(descriptorsOf(path)).toBe(1);
    log[Symbol.dispose]();
    expect(descriptorsOf(path)).toBe(0);
  });

  test("if it is closed during a sync, it closes the file after that", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("log");
    writeFileSync(path, "x");
    const log = new LogSync(path);
    const last = log.sync();
    log[Symbol.dispose]();
    await last;
    expect(descriptorsOf(path)).toBe(0);
  });

  test("rejects with the error of the system", async () => {
    using scratch = scratchDirectory();
    using log = new LogSync(scratch.file("missing"));
    expect(await rejectionOf(log.sync())).toMatchObject({ code: "ENOENT" });
  });
});
