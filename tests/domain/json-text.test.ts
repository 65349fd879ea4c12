import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeText, NotJson, parseJsonText, withoutByteOrderMark } from "../../lib/domain/json-text.ts";

/** Returns the message of what a function throws. */
function problemOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof NotJson) return error.message;
    throw error;
  }
}

describe("parseJsonText", () => {
  test("says the same of texts that differ only in what they hold, whatever is wrong with them", () => {
    const wrong = fc.constantFrom(
      "@",
      "@x",
      '{"a": @}',
      '"@',
      '"\\@"',
      '"\\u@"',
      "[1, @",
      "{@: 1}",
      "1 @",
      "'@'",
      "-@",
      "1.@",
    );
    fc.assert(
      fc.property(
        wrong,
        fc.stringMatching(/^[g-mo-qsv-z][a-z]{4,8}$/),
        fc.stringMatching(/^[G-MO-QSV-Z][A-Z]{4,8}$/),
        (text, one, other) => {
          const said = problemOf(() => parseJsonText(text.replace("@", one)));
          expect(said).toBeString();
          expect(said?.toLowerCase()).not.toContain(one);
          const again = problemOf(() => parseJsonText(text.replace("@", other))) ?? "";
          // Capitals are other escapes than small letters. (None begins an escape, or a digit of one.)
          if (!text.includes("\\")) expect(again).toBe(said ?? "");
          expect(again.toUpperCase()).not.toContain(other);
        },
      ),
      { examples: [['"\\@"', "hunter", "HUNTER"]] },
    );
  });

  test("says why a text is cut off", () => {
    expect(problemOf(() => parseJsonText('{"a": '))).toBe("Unexpected EOF");
    expect(problemOf(() => parseJsonText('{"a": "b'))).toBe("Unterminated string");
  });
});

test("decodeText reads past a byte order mark and refuses what is not UTF-8", () => {
  expect(decodeText(Buffer.from("\u{feff}{}"))).toBe("{}");
  expect(problemOf(() => decodeText(Uint8Array.of(0x22, 0xff, 0x22)))).toBe("it is not UTF-8");
});

test.each([
  ["\u{feff}{}", "{}"],
  ["{}", "{}"],
  ["\u{feff}", ""],
  ["", ""],
  ["\u{feff}\u{feff}1", "\u{feff}1"],
])("withoutByteOrderMark(%j)", (text, expected) => {
  expect(Buffer.from(withoutByteOrderMark(Buffer.from(text))).toString()).toBe(expected);
});
