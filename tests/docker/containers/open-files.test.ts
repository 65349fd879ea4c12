import { expect, test } from "bun:test";
import { OpenFiles } from "../../../lib/docker/containers/open-files.ts";

// EDGE C7
test("OpenFiles begins with the default, or with less if the engine is likely to have less", () => {
  expect(
    [new OpenFiles(), new OpenFiles(1 << 20), new OpenFiles(20_000), new OpenFiles(256)].map(({ hard }) => hard),
  ).toEqual([65_536, 65_536, 20_000, 1024]);
  expect(OpenFiles.of({ host: "engine", port: 2375 }).hard).toBe(65_536);
});

test("OpenFiles goes down when the engine refuses, once for all starts that were refused at once", () => {
  const files = new OpenFiles();
  expect([files.refuse(65_536), files.refuse(65_536), files.hard]).toEqual([true, true, 16_384]);
  expect([files.refuse(16_384), files.refuse(4096), files.hard]).toEqual([true, true, 1024]);
  expect([files.refuse(1024), files.hard]).toEqual([false, 1024]);
});
