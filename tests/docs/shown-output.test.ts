import { describe, expect, test } from "bun:test";
import { firstDifference, Values } from "./support/shown-output.ts";

const ID = "66c1b2a0-4c1e-4d0f-9d2e-0a1b2c3d4e5f";
const OTHER = "9f0e0000-4c1e-4d0f-9d2e-0a1b2c3d4e5f";

const differs = (shown: string, output: string, values = new Values()) => firstDifference(shown, output, values);

describe("firstDifference", () => {
  test.each([
    ["the same text", "+ function a\n1 created", "+ function a\n1 created\n"],
    ["JSON with other line breaks", '{"a": 1,\n  "b": [1, 2]}', '{"a":1,"b":[1,2]}'],
    ["an omission", '{"a": 1, …, "z": {"y": 2, …}}', '{"a":1,"b":2,"z":{"y":2,"x":3}}'],
    ["an omission at the end", "first\n…", "first\nsecond\nthird"],
    ["another time", '{"at": "2026-01-31T12:00:00.000Z"}', '{"at":"2027-05-01T09:08:07.123Z"}'],
    ["another duration", "queue;dur=0.1, run;dur=12", "queue;dur=250.4, run;dur=3.25"],
    ["another digest", `sha256:${"0".repeat(64)}`, `sha256:${"ab".repeat(32)}`],
  ])("accepts %s", (_, shown, output) => {
    expect(differs(shown, output)).toBeUndefined();
  });

  test.each([
    ["another value", '{"a": 1, …}', '{"a":2,"b":3}', '{"a": 1,'],
    ["a missing field", '{"a": 1, …, "q": 2, …}', '{"a":1,"b":2,"z":3}', ', "q": 2,'],
    ["more than is shown", "1 created", "1 created\n2 updated", "1 created"],
    ["less than is shown", "1 created\n2 updated", "1 created", "1 created\n2 updated"],
    ["nothing at all", "text", "", "text"],
    ["output if none is shown", "", "text", "the end of the output"],
    ["other spaces in a sentence", "one two", "onetwo", "one two"],
  ])("finds %s", (_, shown, output, expected) => {
    expect(differs(shown, output)).toBe(expected);
  });

  test("maps an id of the page to the same id every time", () => {
    const values = new Values();
    expect(differs(`{"id": "${ID}"}`, `{"id": "${OTHER}"}`, values)).toBeUndefined();
    expect(values.inserted(`curl /v1/routes/${ID}`)).toBe(`curl /v1/routes/${OTHER}`);
    expect(differs(`see ${ID}`, `see ${OTHER}`, values)).toBeUndefined();
    expect(differs(`see ${ID}`, `see ${ID}`, values)).toBe(`see ${ID}`);
  });

  test("requires the same id if the page repeats one", () => {
    expect(differs(`${ID} ${ID}`, `${OTHER} ${OTHER}`)).toBeUndefined();
    expect(differs(`${ID} ${ID}`, `${OTHER} ${ID}`)).toBe(`${ID} ${ID}`);
  });

  test("accepts output that continues if only its beginning is required", () => {
    expect(firstDifference("up", "up\nand running", new Values(), true)).toBeUndefined();
    expect(firstDifference("down", "up\nand running", new Values(), true)).toBe("down");
  });
});
