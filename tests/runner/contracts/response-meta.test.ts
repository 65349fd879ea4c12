import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isHeaderName, isHeaderValue, responseHeaderProblem } from "../../../lib/domain/calls/headers.ts";
import { parseResponseMeta } from "../../../lib/runner/contracts/response-meta.ts";

const parse = (value: unknown) =>
  parseResponseMeta(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));

describe("parseResponseMeta", () => {
  test.each([
    [{}, 200, []],
    [{ status: 201 }, 201, []],
    [{ status: 599, headers: {} }, 599, []],
    [{ headers: { Location: "/x" } }, 200, [["location", "/x"]]],
    [
      { headers: { "Set-Cookie": ["a=1", "b=2"], ETag: '"x"' } },
      200,
      [
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["etag", '"x"'],
      ],
    ],
    [{ headers: { "content-type": ["text/html"] } }, 200, [["content-type", "text/html"]]],
    ['{"headers": {"__proto__": "x"}}', 200, [["__proto__", "x"]]],
    [{ headers: { "x-none": [] } }, 200, []],
  ] as [unknown, number, [string, string][]][])("reads %j", (value, status, headers) => {
    expect(parse(value)).toEqual({ status, headers, dropped: [] });
  });

  test.each([
    ["", "is empty"],
    ["{", "is not JSON: "],
    ["\u{feff}{}", "is not JSON: "],
    [Uint8Array.of(0x22, 0xff, 0x22), "is not JSON: "],
    ["[]", "must be an object, and is []"],
    ["null", "must be an object, and is null"],
    [
      { statusCode: 200 },
      'has an unknown field "statusCode": it may have "status", "headers", "retry", "retry_after_ms"',
    ],
    [{ retry: "no" }, 'has the retry "no": give true or false'],
    [{ retry_after_ms: -1 }, "has the retry_after_ms -1: give a whole number of milliseconds"],
    [{ status: 199 }, "has the status 199: give a whole number from 200 to 599"],
    [{ status: 101 }, "has the status 101"],
    [{ status: 600 }, "has the status 600"],
    [{ status: 200.5 }, "has the status 200.5"],
    [{ status: "201" }, 'has the status "201"'],
    [{ status: null }, "has the status null"],
    [{ headers: [] }, 'has "headers" that are no object'],
    [{ headers: null }, 'has "headers" that are no object'],
    [{ headers: { "a b": "c" } }, 'has a header with the malformed name "a b"'],
    [{ headers: { "": "c" } }, 'has a header with the malformed name ""'],
    [{ headers: { "a\r\nset-cookie": "c" } }, "malformed name"],
    [{ headers: { "x-a": 1 } }, 'has the header "x-a" with the value 1: give a string, or a list of them'],
    [{ headers: { "x-a": ["b", null] } }, "with the value null"],
    [{ headers: { "x-a": "b\r\nc: d" } }, 'has the header "x-a" with a character that no header can have'],
    [{ headers: { "x-a": "€" } }, "character that no header can have"],
    [{ headers: { connection: "a\nb" } }, "character that no header can have"],
    [{ headers: { "X-A": "1", "x-a": "2" } }, 'has the header "x-a" twice: give its values as a list'],
    [{ headers: { "content-type": ["a/b", "c/d"] } }, 'must have one "content-type"'],
    [{ headers: { location: [] } }, 'must have one "location"'],
    [{ headers: { "x-a": Array.from({ length: 257 }, () => "") } }, "has more than 256 headers"],
  ])("refuses %j", (value, problem) => {
    const bytes =
      value instanceof Uint8Array ? value : Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
    expect(parseResponseMeta(bytes)).toEqual({ problem: expect.stringContaining(problem) });
  });

  test("drops headers that a function may not set, and reports them", () => {
    const headers = { Connection: "x", "Transfer-Encoding": "chunked", "X-Request-Id": "mine", "x-mine": "yes" };
    expect(parse({ headers })).toEqual({
      status: 200,
      headers: [["x-mine", "yes"]],
      dropped: [
        'the header "connection" of response.meta.json is left out: it is about one connection only',
        'the header "transfer-encoding" of response.meta.json is left out: it is about one connection only',
        'the header "x-request-id" of response.meta.json is left out: the server sets it',
      ],
    });
  });

  test("shows only the beginning of a wrong value", () => {
    const found = parse({ status: "x".repeat(1_000) });
    expect("problem" in found && found.problem.length).toBeLessThan(150);
  });

  test("accepts no header that is malformed or not allowed, for any input", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.constantFrom("connection", "Upgrade", "set-cookie", "x-a", "Content-Length", "TE", "a\nb"),
    );
    const values = fc.oneof(text, fc.array(text, { maxLength: 3 }), fc.jsonValue());
    const given = fc.oneof(
      fc.jsonValue(),
      fc.record({ status: fc.oneof(fc.integer(), fc.constant(200)), headers: fc.dictionary(text, values) }),
    );
    fc.assert(
      fc.property(given, (value) => {
        const found = parse(JSON.stringify(value));
        if ("problem" in found) return expect(found.problem).not.toBe("");
        expect(found.status).toBeWithin(200, 600);
        for (const [name, one] of found.headers) {
          expect(isHeaderName(name) && isHeaderValue(one) && name === name.toLowerCase()).toBe(true);
          expect(responseHeaderProblem(name)).toBeUndefined();
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("never throws, for any bytes", () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseResponseMeta(bytes)));
  });
});
