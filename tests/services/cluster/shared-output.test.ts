import { expect, test } from "bun:test";
import fc from "fast-check";
import type { LogEntry } from "../../../lib/domain/calls/invocations.ts";
import { AnswerSeal } from "../../../lib/services/cluster/wire/answer-seal.ts";
import { LINE_CHARACTERS, readSignedLine, signedLines } from "../../../lib/services/cluster/shared-output.ts";

const seal = (request = "signature") => new AnswerSeal(new Uint8Array(32), Buffer.from(request));

const textOf = (entries: readonly LogEntry[]) => entries.map(({ text }) => text).join("");

/** Checks that what is read is what was printed, and returns how many lines it took. */
function readBack(printed: readonly LogEntry[]): number {
  const lines = Array.from(signedLines(printed, seal()));
  expect(Math.max(0, ...lines.map(({ length }) => length))).toBeLessThan(LINE_CHARACTERS);
  const reader = seal();
  const read = lines.flatMap((line) => readSignedLine(line, reader));
  for (const stream of ["stdout", "stderr"] as const) {
    const of = (all: readonly LogEntry[]) => textOf(all.filter((one) => one.stream === stream));
    expect(of(read) === of(printed)).toBe(true);
  }
  expect(read.every(({ text }) => text.isWellFormed())).toBe(true);
  return lines.length;
}

test("what was printed is what was sent, in lines of a limited length, whatever the entries are", () => {
  const entry = fc.record({
    stream: fc.constantFrom("stdout" as const, "stderr" as const),
    text: fc.string({ unit: "binary" }),
  });
  fc.assert(
    fc.property(fc.array(entry), (printed) => void readBack(printed)),
    { numRuns: 30 },
  );
  const stream = "stdout" as const;
  expect(readBack([])).toBe(0);
  // Each takes six characters in JSON.
  expect(readBack([{ stream, text: "\u0001".repeat(200_000) }])).toBe(4);
  // A cut would go through the middle of one.
  expect(readBack([{ stream, text: `a${"😀".repeat(70_000)}` }])).toBe(3);
  expect(readBack(Array.from({ length: 1_200 }, () => ({ stream, text: "" })))).toBe(3);
  expect(readBack(Array.from({ length: 10 }, () => ({ stream, text: "x".repeat(20_000) })))).toBe(4);
});

test("the gap in front of an entry that is cut comes once", () => {
  const entry: LogEntry = { stream: "stderr", text: "x".repeat(100_000), dropped_before_bytes: 7 };
  const reader = seal();
  const read = Array.from(signedLines([entry], seal())).flatMap((line) => readSignedLine(line, reader));
  expect(read.map(({ dropped_before_bytes }) => dropped_before_bytes)).toEqual([7, undefined]);
});

test("a line of somebody else, of another answer or in another place is refused", () => {
  const [one = "", other = ""] = ["a", "b"].flatMap((text) =>
    Array.from(signedLines([{ stream: "stdout", text }], seal())),
  );
  for (const line of ["[]", "null", `${"0".repeat(64)}[]`, one.replace('"a"', '"b"')])
    expect(() => readSignedLine(line, seal())).toThrow("not signed");
  expect(() => readSignedLine(one, seal("another"))).toThrow("not signed");
  const reader = seal();
  expect(readSignedLine(one, reader)).toEqual([{ stream: "stdout", text: "a" }]);
  // It was signed as the first one, too.
  expect(() => readSignedLine(other, reader)).toThrow("not signed");
});
