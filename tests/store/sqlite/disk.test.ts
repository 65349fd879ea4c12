import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { databasePath } from "../../../lib/store/sqlite/store.ts";
import { newStore, scratchDirectory, someFunction } from "./support/stores.ts";

// Mounts are made in a mount namespace of the test's own: nothing is left, whatever happens. Without root it has a user
// namespace too.
const NAMESPACE = ["unshare", ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]), "--mount"];

/** Runs a shell script in a mount namespace; `$0` is Bun, `$1` the directory, `$2` the directory of this file. */
async function inNamespace(script: string, directory: string): Promise<string> {
  const child = Bun.spawn([...NAMESPACE, "sh", "-ec", script, process.execPath, directory, import.meta.dir], {
    stderr: "pipe",
  });
  const [output, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  expect(errors).toBe("");
  expect(code).toBe(0);
  return output;
}

test("a full disk: writes are storage_full, reads work, nothing acknowledged is lost, and it recovers", async () => {
  using scratch = scratchDirectory();
  const output = await inNamespace(
    'mount -t tmpfs -o size=1m tmpfs "$1"; "$0" "$2/support/tiny-disk.ts" "$1"',
    scratch.path,
  );
  expect(JSON.parse(output)).toEqual({
    refusals: ["storage_full"],
    readWhileFull: true,
    nothingElse: true,
    recovered: true,
    keptAll: true,
    openedWhenFull: expect.stringContaining("its disk is full: make room there, then start again"),
    ballast: true,
  });
});

test.each<[what: string, script: string]>([
  ["directory", 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; "$0" "$2/support/opener.ts" "$1"'],
  [
    "file",
    'mount --bind "$1/database.db" "$1/database.db"; mount -o remount,bind,ro "$1/database.db"; "$0" "$2/support/opener.ts" "$1"',
  ],
])("a read-only %s is refused, naming the database and the remedy", async (_, script) => {
  using scratch = scratchDirectory();
  const path = databasePath(scratch.path);
  {
    using store = newStore(path);
    await store.functions.insert(someFunction("f1"));
  }
  const before = readFileSync(path);
  const message = await inNamespace(script, scratch.path);
  expect(message).toStartWith(`Cannot write the database ${JSON.stringify(path)} (`);
  expect(message).toContain(
    "make the file and its directory writable for this user, or choose another directory with --data-path",
  );
  expect(readFileSync(path).equals(before)).toBe(true);
});
