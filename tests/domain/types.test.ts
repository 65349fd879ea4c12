import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseMoment, readTime } from "../../lib/domain/types.ts";

// EDGE.md E7.
describe("parseMoment", () => {
  test.each([
    ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"],
    ["2026-01-31t12:00:00z", "2026-01-31T12:00:00.000Z"],
    ["2026-01-31T12:00Z", "2026-01-31T12:00:00.000Z"],
    ["2026-01-31T12:00:00.25+05:30", "2026-01-31T06:30:00.250Z"],
    ["2026-01-31T12:00:00-0330", "2026-01-31T15:30:00.000Z"],
    ["2026-01-31T00:30:00+01:00", "2026-01-30T23:30:00.000Z"],
    // A query in which the plus was not encoded.
    ["2026-01-31T12:00:00 01:00", "2026-01-31T11:00:00.000Z"],
    ["2026-01-31 12:00:00 01:00", "2026-01-31T11:00:00.000Z"],
    ["2028-02-29T12:00:00Z", "2028-02-29T12:00:00.000Z"],
  ])("%j is %s", (text, time) => {
    expect(new Date(parseMoment(text) ?? Number.NaN).toISOString()).toBe(time);
  });

  test.each([
    "2026-01-31T12:00:00",
    "2026-01-31T12:00",
    "2026-01-31 12:00:00",
    "2026-01-31T12:00:00.000",
    "2026-01-31",
    "2026-02-30T12:00:00Z",
    "2027-02-29T12:00:00Z",
    "2026-01-31T25:00:00Z",
    "2026-01-31T12:00:00+25:00",
    "2026-01-31T12:00:00 GMT",
    "2026-01-31T12:00:00[Europe/Berlin]",
    "Sat, 31 Jan 2026 12:00:00",
    "1769860800000",
    "",
  ])("%j is none", (text) => {
    expect(parseMoment(text)).toBeUndefined();
  });

  test("no time without an offset is one, whatever the machine's own time zone is", () => {
    const days = fc.date({
      min: new Date("1970-01-01T00:00:00Z"),
      max: new Date("2999-12-31T00:00:00Z"),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(days, (date) => {
        const utc = date.toISOString();
        expect(parseMoment(utc)).toBe(date.getTime());
        expect(parseMoment(utc.slice(0, -1))).toBeUndefined();
      }),
    );
  });
});

describe("readTime", () => {
  test("takes a day for its midnight in UTC, and refuses a time without an offset", () => {
    expect(readTime("since", "2026-01-31")).toBe("2026-01-31T00:00:00.000Z");
    expect(() => readTime("since", "2026-01-31T12:00:00")).toThrow(
      'Invalid "since" "2026-01-31T12:00:00": it does not say how far it is from UTC; give a time such as 2026-01-31T12:00:00Z',
    );
    expect(() => readTime("since", "yesterday")).toThrow('Invalid "since" "yesterday": give a time such as');
  });
});
