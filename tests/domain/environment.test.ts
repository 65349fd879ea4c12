import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkEnvironment, environmentProblem } from "../../lib/domain/environment.ts";

describe("environmentProblem", () => {
  test.each<[key: string, value: string]>([
    ["GREETING", "hello"],
    ["lower.case-and_more", ""],
    ["MULTI", "one\ntwo\r\n\tthree\n"],
    ["EQUALS", "a=b=c"],
    ["UNICODE_é", "日本\u{1f600}"],
    ["WITH SPACE", " x "],
    ["__proto__", "own"],
    ["BIG", "x".repeat(128 * 1024 - 1 - "BIG=".length)],
  ])("accepts %s", (key, value) => {
    expect(environmentProblem(key, value)).toBeUndefined();
  });

  test.each<[key: string, value: string, problem: string]>([
    ["", "x", "a key is empty"],
    ["REQUEST_ID", "x", "set by the server"],
    ["CONTEXT_PATH", "x", "set by the server"],
    ["A=B", "x", 'contains "="'],
    ["A\nB", "x", "control character"],
    ["A\0", "x", "control character"],
    ["A", "x\0y", "NUL"],
    ["BIG", "x".repeat(128 * 1024 - "BIG=".length), "131071 bytes"],
    ["BIG", "é".repeat(64 * 1024), "131071 bytes"],
  ])("refuses %j", (key, value, problem) => {
    expect(environmentProblem(key, value)).toContain(problem);
  });
});

describe("checkEnvironment", () => {
  test("keeps every text without NUL", () => {
    const key = fc
      .stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,20}$/)
      .filter((name) => !/^(REQUEST_ID|CONTEXT_PATH)$/.test(name));
    const value = fc.string({ unit: "binary" }).map((text) => text.replaceAll("\0", ""));
    fc.assert(fc.property(fc.dictionary(key, value), (environment) => checkEnvironment(environment)));
  });

  test("names the wrong entry", () => {
    expect(() => checkEnvironment({ FINE: "1", "NOT=FINE": "2" })).toThrow('Invalid "environment": the key "NOT=FINE"');
  });

  test("refuses more than 1000 entries, and more than 512 KiB in total", () => {
    const many = Object.fromEntries(Array.from({ length: 1001 }, (_, index) => [`K${index}`, ""]));
    expect(() => checkEnvironment(many)).toThrow("1001 entries");
    const big = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`K${index}`, "x".repeat(110 * 1024)]));
    expect(() => checkEnvironment(big)).toThrow("at most 524288");
  });
});
