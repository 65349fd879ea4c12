import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LiveLogs } from "../../../lib/runner/instance/live-logs.ts";

/** Splits a text into pieces of bytes and returns the log text that is published of them. */
function told(secrets: readonly string[], text: string, cuts: readonly number[]): string[] {
  const entries: string[] = [];
  const live = new LiveLogs(secrets, (some) => entries.push(...some.map((entry) => entry.text)));
  const bytes = Buffer.from(text);
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  places.slice(1).forEach((end, i) => live.add("stdout", bytes.subarray(places[i], end), 0));
  live.end();
  return entries;
}

const cuts = fc.array(fc.nat(), { maxLength: 20 });

describe("LiveLogs", () => {
  test("passes on output as it comes, whole characters only", () => {
    expect(told([], "grüße\n", [3])).toEqual(["gr", "üße\n"]);
  });

  test("masks a value that comes in pieces, and holds back a possible beginning of one", () => {
    const entries: string[] = [];
    const live = new LiveLogs(["s3cret!"], (some) => entries.push(...some.map(({ text }) => text)));
    for (const piece of ["key s3c", "ret!", " and s3", "x"]) live.add("stdout", Buffer.from(piece), 0);
    live.end();
    expect(entries.join("")).toBe("key *** and s3x");
    expect(entries[0]).toBe("key ");
  });

  test("passes on all output and no value, however it is split", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "-", "\n"), maxLength: 60 });
    const values = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "-"), minLength: 4, maxLength: 6 }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(letters, values, cuts, (text, secrets, places) => {
        const shown = told(secrets, text, places).join("");
        for (const secret of secrets) expect(shown).not.toContain(secret);
        if (!secrets.some((secret) => text.includes(secret.slice(0, 4)))) expect(shown).toBe(text);
      }),
    );
  });
});
