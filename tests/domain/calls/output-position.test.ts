import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LogEntry } from "../../../lib/domain/calls/invocations.ts";
import { OutputPosition } from "../../../lib/domain/calls/output-position.ts";

const entry = fc.record({
  stream: fc.constantFrom("stdout" as const, "stderr" as const),
  text: fc.string({ minLength: 1, maxLength: 5 }),
});

/** Reads output from a position, in pieces, and returns what is new of each stream, and the id after each piece. */
function read(lastEventId: string | null, entries: readonly LogEntry[], attempt = 1) {
  const position = new OutputPosition(lastEventId);
  position.begin(attempt);
  const got = { stdout: "", stderr: "" };
  const ids = entries.map((one) => {
    for (const { stream, text } of position.take([one])) got[stream] += text;
    return position.id;
  });
  return { got, ids };
}

function textOf(entries: readonly LogEntry[], stream: LogEntry["stream"]): string {
  return entries.map((one) => (one.stream === stream ? one.text : "")).join("");
}

describe("OutputPosition", () => {
  test("goes on where a client was cut off, whatever pieces the output comes in then", () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 12 }), fc.nat(), (entries, cut) => {
        const whole = read(null, entries);
        const seen = cut % entries.length;
        // The stored output has another order of the streams, and longer pieces.
        const stored = (["stderr", "stdout"] as const).map((stream) => ({ stream, text: textOf(entries, stream) }));
        const { got } = read(whole.ids[seen] ?? "", stored);
        for (const stream of ["stdout", "stderr"] as const) {
          expect(textOf(entries.slice(0, seen + 1), stream) + got[stream]).toBe(textOf(entries, stream));
        }
      }),
    );
  });

  test.each([null, "", "x", "1-2", "1-2-x", "2-5-5", "99999999999-1-1"])("begins at the beginning for %j", (id) => {
    expect(read(id, [{ stream: "stdout", text: "hello" }]).got.stdout).toBe("hello");
  });

  test("sends all that comes after a gap", () => {
    const entries: LogEntry[] = [
      { stream: "stdout", text: "abc" },
      { stream: "stdout", text: "xyz", dropped_before_bytes: 100 },
    ];
    expect(read("1-50-0", entries).got.stdout).toBe("xyz");
    expect(read("1-2-0", entries).got.stdout).toBe("cxyz");
  });

  test("begins again with each attempt", () => {
    const position = new OutputPosition("1-5-0");
    position.begin(1);
    expect(position.take([{ stream: "stdout", text: "first" }])).toEqual([]);
    position.begin(2);
    expect(position.take([{ stream: "stdout", text: "second" }])).toEqual([{ stream: "stdout", text: "second" }]);
    expect(position.id).toBe("2-6-0");
  });
});
