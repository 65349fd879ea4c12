import { expect, test } from "bun:test";
import { notFound, quoted } from "../../lib/domain/quoted.ts";

test("quoted cuts off long values and escapes special characters", () => {
  expect(quoted('a"b\n')).toBe('"a\\"b\\n"');
  expect(quoted("x".repeat(500))).toBe(`"${"x".repeat(100)}..."`);
  expect(quoted("abcdef", 3)).toBe('"abc..."');
  expect(quoted("abc", 3)).toBe('"abc"');
});

test("notFound says where to look", () => {
  expect(notFound("route", "r1")).toMatchObject({
    reason: "not_found",
    message: 'No route "r1": GET /v1/routes lists them',
  });
});
