import { expect, test } from "bun:test";
import fc from "fast-check";
import { printable, printableLines } from "../../lib/cli/output/printable.ts";
import { relativeTime, showBytes, showMs } from "../../lib/cli/output/quantities.ts";

test("printable leaves no character that a terminal obeys, and plain text as it is", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(printable(text)).not.toMatch(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/u);
      expect(printableLines(text)).not.toMatch(/[^\P{Cc}\n\t]|[\u2028-\u202e\u2066-\u2069]/u);
    }),
  );
  fc.assert(fc.property(fc.string(), (text) => expect(printable(text)).toBe(text)));
  expect(printable("Zoë 日本語 \u{1f680}")).toBe("Zoë 日本語 \u{1f680}");
  expect(printable("a\n\tb\r\u001b[1m")).toBe("a\\n\\tb\\r\\u001b[1m");
  expect(printableLines("a\r\n\tb\rc\n")).toBe("a\n\tb\\rc\n");
});

test.each([
  [0, "0s ago"],
  [59, "59s ago"],
  [60, "1m ago"],
  [3_599, "59m ago"],
  [86_400, "1d ago"],
  [-7_200, "in 2h"],
])("relativeTime of %d s is %s", (seconds, words) => {
  const now = Date.parse("2026-01-31T12:00:00Z");
  expect(relativeTime(new Date(now - seconds * 1_000).toISOString(), now)).toBe(words);
});

test("quantities have units that people read", () => {
  expect([0, 1023, 1024, 1_376_256, 2 ** 40].map(showBytes)).toEqual([
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.3 MiB",
    "1.0 TiB",
  ]);
  expect([0.04, 4.25, 123.4, 1_500].map(showMs)).toEqual(["0.0ms", "4.3ms", "123ms", "1.5s"]);
  expect([showBytes(null), showMs(null), relativeTime(null)]).toEqual([null, null, null]);
});
