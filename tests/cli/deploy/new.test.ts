import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSample } from "../../../lib/cli/deploy/new.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-new-"));
});

afterEach(() => rm(directory, { recursive: true }));

test("writeSample writes the files of a template into a new folder", async () => {
  const target = join(directory, "one/two");
  expect((await writeSample(target, "python")).toSorted()).toEqual(["main.py", "requirements.txt"]);
  expect((await readdir(target)).toSorted()).toEqual(["main.py", "requirements.txt"]);
});

test("writeSample touches no folder with files, and names the templates", async () => {
  await Bun.write(join(directory, "mine.txt"), "mine");
  expect(await writeSample(directory, "script").catch(String)).toContain("is not empty");
  expect(await writeSample(join(directory, "x"), "ruby").catch(String)).toContain(
    'No template "ruby": give one of bun, node, python, go, script, static',
  );
  expect(await readdir(directory)).toEqual(["mine.txt"]);
});
