import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkRoutePath, routePathProblem } from "../../../lib/domain/routes/routes.ts";

describe("routePathProblem", () => {
  test.each([
    "/",
    "/hello-world",
    "/a/b/c",
    "/a/",
    "/with space",
    "/é/日本",
    "/a.b/..c/...",
    "/a;b=c,d&e",
    "/~x:1@y!",
    "/*",
    "/a/*",
    "/a b/é/*",
    `/${"x".repeat(1023)}`,
  ])("accepts %j", (path) => {
    expect(routePathProblem(path)).toBeUndefined();
  });

  test.each<[path: string, problem: string]>([
    ["", 'did you mean "/"?'],
    ["hello", 'did you mean "/hello"?'],
    [`/${"x".repeat(1024)}`, "longer than 1024 bytes"],
    [`/${"é".repeat(512)}`, "longer than 1024 bytes"],
    ["/a\nb", "control character"],
    ["/a\0", "control character"],
    ["/a\u007f", "control character"],
    ["/\ud800", "surrogate"],
    ["//a", '"//"'],
    ["/a//b", '"//"'],
    ["/a?b", '"?"'],
    ["/a#b", '"#"'],
    ["/a\\b", '"\\"'],
    ["*", 'did you mean "/*"?'],
    ["/a*", 'a prefix ends like "/files/*"'],
    ["/*/a", '"*"'],
    ["/*/", '"*"'],
    ["/*/*", '"*"'],
    ["/a/**", '"*"'],
    ["/a/*?", '"*"'],
    ["//*", '"//"'],
    ["/../*", '".."'],
    ["/a%20b", "give the path decoded"],
    ["/..", '".."'],
    ["/a/../b", '".."'],
    ["/./a", '".."'],
    ["/a/.", '".."'],
  ])("refuses %j", (path, problem) => {
    expect(routePathProblem(path)).toContain(problem);
  });

  test("a valid path survives the way through a URL", () => {
    const part = fc.oneof(
      fc.string({ unit: "binary", maxLength: 4 }),
      fc.constantFrom("/", ".", "..", "%", "a", " ", "~", ";", "'", "|", "*"),
    );
    const candidate = fc.array(part, { maxLength: 6 }).map((parts) => `/${parts.join("")}`);
    fc.assert(
      fc.property(candidate, (path) => {
        fc.pre(routePathProblem(path) === undefined);
        const sent = path.split("/").map(encodeURIComponent).join("/");
        const url = new URL(`http://host/r${sent}`);
        expect(decodeURIComponent(url.pathname.slice("/r".length))).toBe(path);
        expect(url.search + url.hash).toBe("");
      }),
      { numRuns: 1000 },
    );
  });
});

describe("checkRoutePath", () => {
  test("throws invalid_request with the path, cut off", () => {
    expect(() => checkRoutePath("x")).toThrow(
      expect.objectContaining({
        reason: "invalid_request",
        message: 'Invalid "path" "x": it must begin with "/": did you mean "/x"?',
      }),
    );
    expect(() => checkRoutePath(`/${"x".repeat(5000)}`)).toThrow(/^Invalid "path" "\/x{99}\.\.\.": it is longer/);
  });
});
