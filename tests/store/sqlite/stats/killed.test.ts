import { expect, test } from "bun:test";
import { databasePath, type SqliteStore } from "../../../../lib/store/sqlite/store.ts";
import { newStore, scratchDirectory } from "../support/stores.ts";

const WRITER = `${import.meta.dir}/../support/stats-writer.ts`;

async function succeeded(store: SqliteStore): Promise<number> {
  const buckets = await store.stats.read({ function_id: null, resolution: "hour", since: 0, until: 1e14 });
  return buckets.reduce((sum, { tally }) => sum + tally.ends.succeeded, 0);
}

test("kill -9 while calls are written, counted and removed loses none of them, and counts none twice", async () => {
  for (let round = 0; round < 3; round += 1) {
    using scratch = scratchDirectory();
    const child = Bun.spawn([process.execPath, WRITER, scratch.path], { stdout: "pipe" });
    let written = 0;
    let lines = 0;
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        if (line !== "ready") written += Number(line);
        if ((lines += 1) === 2 + round * 17) child.kill("SIGKILL");
      }
    }
    await child.exited;
    using store = newStore(databasePath(scratch.path));
    while ((await store.stats.count(500)).left !== "nothing");
    const counted = await succeeded(store);
    // It may have been killed between a write and its line.
    expect([written, written + 20]).toContain(counted);
    // Whatever was not removed is among them.
    const { invocations } = await store.history.list({ limit: 500 });
    expect(counted).toBeGreaterThanOrEqual(invocations.length);
    expect(written).toBeGreaterThan(0);
  }
});
