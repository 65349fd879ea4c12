import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import { MANIFEST_BYTES } from "../../../lib/domain/limits.ts";
import { parseManifestText } from "../../../lib/domain/manifest/text.ts";
import { withParser } from "../../../lib/domain/manifest/parser-thread.ts";
import { rejectionOf } from "../../store/sqlite/support/stores.ts";
import { processorTime } from "../../support/pace.ts";

const parse = (text: string) => withParser((parseText) => parseManifestText(text, parseText));

async function refusal(text: string): Promise<AppError> {
  const error = await rejectionOf(parse(text));
  if (error instanceof AppError) return error;
  throw error;
}

describe("parseManifestText", () => {
  test.each<[what: string, text: string, expected: unknown]>([
    ["YAML", "a: 1\nb: [x, 'y']\n", { a: 1, b: ["x", "y"] }],
    ["YAML of Windows", "\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n", { a: 1, b: "x\ny\n" }],
    ["a document with its marks", "---\na: 1\n...\n", { a: 1 }],
    ["JSON", '{"a": [1, true, null, "x\\u00e9"]}', { a: [1, true, null, "xé"] }],
    ["JSON with half of a surrogate pair, which YAML does not have", '{"a": "\\ud800"}', { a: "\ud800" }],
    ["JSON with a very long key", `{"${"k".repeat(5_000)}": 1}`, { ["k".repeat(5_000)]: 1 }],
    ["a mapping that looks like JSON", "{a: 1, b: x}", { a: 1, b: "x" }],
    ["anchors, aliases and merges", "a: &a {x: 1}\nb: {<<: *a, y: *a}\n", { a: { x: 1 }, b: { x: 1, y: { x: 1 } } }],
    ["words that are truth values elsewhere", "a: yes\nb: off\nc: 010\n", { a: "yes", b: "off", c: 10 }],
    ["nothing", "", null],
    ["a byte order mark before YAML", "\u{feff}a: 1\n", { a: 1 }],
    ["a byte order mark before JSON", '\u{feff}{\n\t"a": "\\ud800"}', { a: "\ud800" }],
    [
      "stars that are not aliases",
      `a: ["*"]\nb: '*'\nc: /x/*\n${"#* * *a\n".repeat(1_000)}`,
      { a: ["*"], b: "*", c: "/x/*" },
    ],
  ])("accepts %s", async (_what, text, expected) => {
    expect(await parse(text)).toEqual(expected);
  });

  test.each<[text: string, problem: string]>([
    ["a: 1\nb: [1, 2\nc: 3\n", "unexpected token, near line 2"],
    ["a:\n\tb: 1\n", "tab characters cannot be used as indentation, near line 2"],
    [`a: 1\n${"# x\n".repeat(500)}b: c: d\n${"e: f\n".repeat(500)}`, "unexpected token, near line 502"],
    [`a: [\n${"  x,\n".repeat(20)}]\n${"b: c\n".repeat(20)}d: *e\n`, "unresolved alias, near line 43"],
    ['a: "b\n', "unexpected EOF, near line 1"],
    ["{", "unexpected token, near line 1"],
    ["[".repeat(50_000), "it is nested too deeply"],
    ["- ".repeat(100_000), "it is nested too deeply"],
    [
      `a: &a "${"x".repeat(500_000)}"\nb: [${"*a,".repeat(150_000)}]`,
      "it has too many aliases (*name) for its size: write out what they stand for",
    ],
    [
      `a: &a {${Array.from({ length: 60_000 }, (_, i) => `k${i}: v`).join()}}\n${"b: {<<: *a}\n".repeat(10_000)}`,
      "it has too many aliases (*name) for its size: write out what they stand for",
    ],
  ])("refuses %#: %j", async (text, problem) => {
    expect(await refusal(text)).toMatchObject({
      reason: "invalid_request",
      message: `The manifest is not valid YAML: ${problem}`,
    });
  });

  test("searches for the line of a mistake only for a short time", async () => {
    const used = processorTime();
    expect((await refusal(`a: [\n${"  x,\n".repeat(150_000)}\nb: c: d\n`)).message).toEndWith("unexpected token");
    expect(used()).toBeLessThan(2_000);
  });

  test("refuses a text beyond the limit", async () => {
    expect(await parse(`#${"x".repeat(MANIFEST_BYTES - 1)}`)).toBeNull();
    expect(await refusal(`#${"x".repeat(MANIFEST_BYTES)}`)).toMatchObject({
      reason: "payload_too_large",
      message: "The manifest has 1048577 bytes: at most 1048576 are allowed; apply it in parts",
    });
  });

  test("accepts or refuses any text", async () => {
    const line = fc.array(
      fc.oneof(
        fc.constantFrom(
          ": ",
          "- ",
          "  ",
          "[",
          "]",
          "{",
          "}",
          ",",
          "&a ",
          "*a",
          "<<: ",
          "|",
          ">",
          '"',
          "'",
          "#",
          "!!int ",
          "? ",
          "---",
        ),
        fc.string({ unit: "binary", maxLength: 5 }),
        fc.constantFrom("version", "functions", "a", "1", "null", "~", ".inf", "__proto__", "\t", "\0"),
      ),
      { maxLength: 8 },
    );
    const text = fc
      .array(
        line.map((parts) => parts.join("")),
        { maxLength: 8 },
      )
      .map((lines) => lines.join("\n"));
    const property = fc.asyncProperty(text, async (some) => {
      try {
        await parse(some);
      } catch (error) {
        expect(error).toBeInstanceOf(AppError);
      }
    });
    await fc.assert(property, { numRuns: 20_000 });
  });
});
