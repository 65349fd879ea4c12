import { expect, test } from "bun:test";
import fc from "fast-check";
import { pathOf, volumeProblem, withoutVolumes } from "../../../lib/docker/images/volumes.ts";

// EDGE C1
test.each([
  "/.slipway",
  "/.slipway/",
  "//.slipway",
  "/.slipway//gate",
  "/.slipway/./x/../y",
  "/./.slipway/x",
  "/data/../.slipway",
  "/data/../../.slipway/x",
  ".slipway",
  "./.slipway/x/",
  "x/../.slipway/x",
  "/.slipway/.",
  "/.slipway/..",
  "/",
  "//",
  "/..",
  "/data/..",
  "",
  ".",
])("volumeProblem refuses a volume at %j", (volume) => {
  expect(volumeProblem(["/data", volume])).toStartWith(
    `its VOLUME ${JSON.stringify(volume)} lies at, above or below /.slipway`,
  );
});

test.each([
  "/data",
  "/.slipway2",
  "/.slipway-old/x",
  "/x/.slipway",
  "/.slip",
  "/.slipway /x",
  "relative",
  "/..slipway",
])("volumeProblem takes a volume at %j", (volume) => {
  expect(volumeProblem([volume])).toBeUndefined();
});

test("volumeProblem finds our directory however its path is written", () => {
  const noise = fc.constantFrom("/", "/./", "//", "/x/../", "/../", "/a/b/../../");
  const tail = fc.constantFrom("", "/", "/.", "//", "/x", "/x/..", "/gate-0123456789abcdef");
  fc.assert(
    fc.property(fc.array(noise, { maxLength: 4 }), fc.boolean(), tail, (head, relative, end) => {
      const path = `${head.join("") || "/"}.slipway${end}`;
      expect(volumeProblem([relative ? path.replace(/^\/+/, "") : path])).toBeDefined();
    }),
  );
});

test("pathOf is the clean path of the engine", () => {
  expect(["/a/", "a", "//a//b/./c/..", "/"].map(pathOf)).toEqual(["/a", "/a", "/a/b", "/"]);
});

test("withoutVolumes covers each volume with a tmpfs, except where our own mount is", () => {
  expect(withoutVolumes({ volumes: ["/data/", "cache", "/.slipway", "/.slipway/x", "/"] })).toEqual({
    "/data": "",
    "/cache": "",
  });
});
