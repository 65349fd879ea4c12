import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, rename, rm, symlink, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FolderWatch } from "../../../lib/cli/deploy/folder-watch.ts";

let directory: string;
let watch: FolderWatch;
const leaving = new AbortController();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-watch-"));
  watch = new FolderWatch(directory, undefined);
});

afterEach(async () => {
  watch[Symbol.dispose]();
  await rm(directory, { recursive: true, force: true });
});

const write = (path: string, text: string) => Bun.write(join(directory, path), text);
const changed = () => watch.changed(leaving.signal);

/** Waits for changes until all of these paths have changed, in one go or in several. */
async function changedAll(...paths: readonly string[]): Promise<void> {
  const missing = new Set(paths);
  while (missing.size > 0) for (const path of await changed()) missing.delete(path);
}

test("FolderWatch tells of files that are written, added, renamed and removed", async () => {
  await write("index.js", "1");
  await write("sub/deep/x.js", "1");
  expect(await watch.look()).toEqual(["index.js", "sub", "sub/deep", "sub/deep/x.js"]);
  expect(await watch.look()).toEqual([]);
  await write("index.js", "two");
  expect(await changed()).toEqual(["index.js"]);
  await write("sub/deep/x.js", "two");
  expect(await changed()).toEqual(["sub/deep/x.js"]);
  await rename(join(directory, "index.js"), join(directory, "main.js"));
  await changedAll("index.js", "main.js");
  await rm(join(directory, "sub"), { recursive: true });
  await changedAll("sub", "sub/deep", "sub/deep/x.js");
});

test("FolderWatch goes on in folders that come later, and in those that take the place of others", async () => {
  await watch.look();
  await mkdir(join(directory, "new/deep"), { recursive: true });
  await changedAll("new", "new/deep");
  await write("new/deep/x.js", "1");
  expect(await changed()).toEqual(["new/deep/x.js"]);
  await rm(join(directory, "new"), { recursive: true });
  await write("new/deep/x.js", "other");
  await changedAll("new/deep/x.js");
  await write("new/deep/x.js", "again");
  expect(await changed()).toEqual(["new/deep/x.js"]);
});

test("FolderWatch leaves out what the context leaves out, and obeys a .dockerignore that changes", async () => {
  await write("index.js", "1");
  await write(".dockerignore", "*.log\nout\n");
  await write("out/x.js", "1");
  await write("node_modules/x.js", "1");
  expect(await watch.look()).toEqual([".dockerignore", "index.js"]);
  for (const path of ["a.log", "out/x.js", "node_modules/x.js", ".git/index"]) await write(path, "two");
  await write("index.js", "two");
  expect(await changed()).toEqual(["index.js"]);
  await write(".dockerignore", "out\n");
  expect(await changed()).toEqual([".dockerignore", "a.log"]);
  // With a Dockerfile, only its own rules count.
  await write("Dockerfile", "FROM scratch");
  await changedAll("Dockerfile", "node_modules/x.js");
});

test("FolderWatch tells of a change that came before anybody waited, and of a touched file", async () => {
  await write("index.js", "1");
  await watch.look();
  await write("index.js", "two");
  await Bun.sleep(0);
  expect(await changed()).toEqual(["index.js"]);
  await utimes(join(directory, "index.js"), 1, 1);
  expect(await changed()).toEqual(["index.js"]);
});

test("FolderWatch does not follow links out of the folder", async () => {
  await symlink("/proc", join(directory, "proc"));
  expect(await watch.look()).toEqual(["proc"]);
});

test("FolderWatch ends the wait when the signal aborts", async () => {
  await watch.look();
  const own = new AbortController();
  const waiting = watch.changed(own.signal);
  own.abort();
  expect(await waiting).toEqual([]);
  expect(await watch.changed(own.signal)).toEqual([]);
});

test("FolderWatch goes on when the folder is gone for a while", async () => {
  await write("index.js", "1");
  await watch.look();
  await rename(directory, `${directory}-away`);
  const waiting = changed();
  await rename(`${directory}-away`, directory);
  await write("index.js", "two");
  expect(await waiting).toEqual(["index.js"]);
});
