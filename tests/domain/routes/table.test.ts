import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isPrefix, type RoutePath, RouteTable } from "../../../lib/domain/routes/table.ts";
import { processorTime } from "../../support/pace.ts";

/** A naive search by the words of the manual. */
function naive(paths: readonly string[], asked: string): RoutePath | undefined {
  if (paths.includes(asked) && !isPrefix(asked)) return { path: asked, path_rest: null };
  const prefixes = paths
    .filter(isPrefix)
    .map((path) => ({ path, start: path.slice(0, -1) }))
    .filter(({ start }) => `${asked}/`.startsWith(start))
    .toSorted((a, b) => b.start.length - a.start.length);
  const longest = prefixes[0];
  return longest && { path: longest.path, path_rest: asked.slice(longest.start.length) };
}

const PATHS = ["/", "/a", "/a/", "/a/*", "/a/b", "/a/b/c/*", "/é/*", "/x/y/*"];

describe("RouteTable", () => {
  test.each<[asked: string, path: string | undefined, rest: string | null]>([
    ["/", "/", null],
    ["/a", "/a", null],
    ["/a/", "/a/", null],
    ["/a/b", "/a/b", null],
    ["/a/b/", "/a/*", "b/"],
    ["/a/b/c", "/a/b/c/*", ""],
    ["/a/b/c/", "/a/b/c/*", ""],
    ["/a/b/c/d/e", "/a/b/c/*", "d/e"],
    ["/a/b/cd", "/a/*", "b/cd"],
    ["/a//b", "/a/*", "/b"],
    ["/a/*", "/a/*", "*"],
    ["/a/b/c/*", "/a/b/c/*", "*"],
    ["/é/ü", "/é/*", "ü"],
    ["/x/y", "/x/y/*", ""],
    ["/x/y/", "/x/y/*", ""],
    ["/x", undefined, null],
    ["/x/", undefined, null],
    ["/x/yz", undefined, null],
    ["/A", undefined, null],
    ["/ab", undefined, null],
    ["//a", undefined, null],
    ["", undefined, null],
  ])("leads %j to %j, with the rest %j", (asked, path, rest) => {
    const table = new RouteTable(PATHS);
    expect(table.find(asked)).toEqual(path === undefined ? undefined : { path, path_rest: rest });
    expect(table.find(asked)).toEqual(naive(PATHS, asked));
  });

  test("/* matches what no other route does", () => {
    const table = new RouteTable(["/*", "/a", "/b/*"]);
    for (const [asked, path, path_rest] of [
      ["/", "/*", ""],
      ["/x/y", "/*", "x/y"],
      ["/a", "/a", null],
      ["/a/b", "/*", "a/b"],
      ["/b/c", "/b/*", "c"],
    ] as const) {
      expect(table.find(asked)).toEqual({ path, path_rest });
    }
  });

  test("a path that was added twice and deleted once is gone; deleting an unknown path is allowed", () => {
    const table = new RouteTable(["/a/*", "/a/*", "/a", "/a"]);
    for (const path of ["/b", "/b/*", "/a/b/*", "/*"]) table.delete(path);
    expect(table.find("/a")?.path).toBe("/a");
    table.delete("/a");
    expect(table.find("/a")?.path).toBe("/a/*");
    table.delete("/a/*");
    expect(table.find("/a")).toBeUndefined();
  });

  test("finds what a naive search finds, after any additions and deletions", () => {
    const segment = fc.constantFrom("a", "b", "aa", "é", " ", "*", "");
    const asked = fc.array(segment, { maxLength: 5 }).map((segments) => `/${segments.join("/")}`);
    const route = fc
      .tuple(fc.array(fc.constantFrom("a", "b", "aa", "é", " "), { maxLength: 4 }), fc.constantFrom("", "/", "/*"))
      .map(([segments, end]) => `/${segments.join("/")}${end}`.replace("//", "/"));
    const change = fc.record({ path: route, add: fc.boolean() });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 30 }),
        fc.array(asked, { minLength: 1, maxLength: 20 }),
        (changes, all) => {
          const table = new RouteTable();
          const paths = new Set<string>();
          for (const { path, add } of changes) {
            if (add) {
              table.add(path);
              paths.add(path);
            } else {
              table.delete(path);
              paths.delete(path);
            }
          }
          for (const one of [...all, ...paths]) expect(table.find(one)).toEqual(naive([...paths], one));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("a look-up takes no longer for a long path or for many routes", () => {
    const paths = Array.from({ length: 10_000 }, (_, i) => [`/exact/${i}`, `/p${i % 100}/q${i}/*`]).flat();
    const table = new RouteTable(paths);
    const long = `/p7/q7/${"x/".repeat(30_000)}`;
    const used = processorTime();
    for (let i = 0; i < 10_000; i++) {
      if (table.find(long)?.path !== "/p7/q7/*" || table.find("/exact/9999") === undefined)
        throw new Error("not found");
    }
    // About 5 ms; a step for each segment of the path would take 10 s.
    expect(used()).toBeLessThan(1_000);
  });
});
