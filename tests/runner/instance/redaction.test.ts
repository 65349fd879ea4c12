import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LogEntry } from "../../../lib/domain/calls/invocations.ts";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import { Redaction } from "../../../lib/runner/instance/redaction.ts";
import { processorTime } from "../../support/pace.ts";

const out = (text: string): LogEntry => ({ stream: "stdout", text });
const err = (text: string): LogEntry => ({ stream: "stderr", text });

/** The text of one stream, as a reader sees it. */
function joined(entries: readonly LogEntry[], stream: LogEntry["stream"]): string {
  return entries.map((entry) => (entry.stream === stream ? entry.text : "")).join("");
}

describe("Redaction.text", () => {
  test.each([
    ["no value", [], "hunter2", "hunter2"],
    ["a value", ["hunter2"], "the password is hunter2.", "the password is ***."],
    ["a value twice", ["hunter2"], "hunter2 hunter2", "*** ***"],
    ["values that touch", ["hunter2"], "hunter2hunter2", "***"],
    ["values that overlap", ["abcab", "bcabx"], "-abcabx-", "-***-"],
    ["a value that overlaps itself", ["abcab"], "-abcabcab-", "-***-"],
    ["the longer of two values", ["pass", "password"], "password", "***"],
    ["a value in itself", ["aaaa"], "aaaaaaa b", "*** b"],
    ["a value of three bytes", ["abc"], "abc", "abc"],
    ["a value of four bytes", ["abcd"], "abcd", "***"],
    ["a value of four bytes and two characters", ["éé"], "-éé-", "-***-"],
    ["a value without the white space at its ends", ["  hunter2\n"], "hunter2,", "***,"],
    ["a value that is little but white space", ["  a\n"], "a  a\n", "a***"],
    ["a value with stars", ["**secret**"], "a **secret** b", "a ### b"],
    ["text that a mask would turn into a value", ["hunter2", "a###"], "ahunter2#", "a***#"],
    ["the beginning of a value, at the end", ["hunter2"], "so: hunt", "so: ***"],
    ["not three characters of it", ["hunter2"], "so: hun", "so: hun"],
    ["not the beginning elsewhere", ["hunter2"], "hunt! hunter", "hunt! ***"],
    ["not its end", ["hunter2"], "unter2", "unter2"],
    ["a value that contains every mask", ["hunter2", "*#=\u2588"], "my hunter2", ""],
    ["nothing if there is no value", ["hunter2", "*#=\u2588"], "my text", "my text"],
  ])("masks %s", (_, values, text, expected) => expect(new Redaction(values).text(text)).toBe(expected));
});

describe("Redaction.entries", () => {
  test("masks a value that is split across entries, or by the other stream", () => {
    const entries = [out("a hun"), err("E1"), out("ter"), err("E2"), out("2 b")];
    expect(new Redaction(["hunter2"]).entries(entries)).toEqual([out("a ***"), err("E1"), err("E2"), out(" b")]);
  });

  test("keeps streams apart", () => {
    const entries = [out("hun"), err("ter2"), out("x")];
    expect(new Redaction(["hunter2"]).entries(entries)).toEqual(entries);
  });

  test("masks every value and keeps everything else, however the output is split", () => {
    const letter = fc.constantFrom("a", "b", "*", "#", " ", "é");
    const value = fc.string({ unit: letter, minLength: 1, maxLength: 8 });
    const piece = fc.record({
      stream: fc.constantFrom("stdout" as const, "stderr" as const),
      text: fc.oneof(fc.string({ unit: letter, minLength: 1, maxLength: 12 }), value),
    });
    fc.assert(
      fc.property(fc.array(value, { maxLength: 4 }), fc.array(piece, { maxLength: 12 }), (values, entries) => {
        const shown = new Redaction(values).entries(entries);
        for (const stream of ["stdout", "stderr"] as const) {
          const [before, after] = [joined(entries, stream), joined(shown, stream)];
          const long = values.filter((one) => Buffer.byteLength(one) >= 4);
          for (const one of long) expect(after).not.toContain(one);
          const begun = [4, 5, 6, 7].filter((length) => before.length >= length).map((length) => before.slice(-length));
          const cut = long.some((one) => begun.some((end) => one.startsWith(end) || one.trim().startsWith(end)));
          if (!cut && long.every((one) => !before.includes(one.trim()))) expect(after).toBe(before);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  test("takes linear time for the worst function and secret", () => {
    const values = Array.from({ length: 64 }, (_, index) => "a".repeat(8_000 + index));
    const used = processorTime();
    expect(new Redaction(values).entries([out(`${"a".repeat(65_000)}b`)])).toEqual([out("***b")]);
    // A quadratic one needs minutes for this.
    expect(used()).toBeLessThan(4_000);
  });
});

test("LogCollector masks a value that frames have split within a character, in its entries and in messages", () => {
  const logs = new LogCollector(() => 0, ["pässwörd"]);
  const bytes = Buffer.from("my pässwörd\n");
  for (let at = 0; at < bytes.length; at++) logs.add("stdout", bytes.subarray(at, at + 1));
  expect(logs.finish()).toMatchObject([{ stream: "stdout", text: "my ***\n" }]);
  expect(logs.mask('unexpected "pässwörd"')).toBe('unexpected "***"');
});
