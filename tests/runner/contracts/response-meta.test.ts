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
    [Uint8Array.of(0x22, 0xff, 0x22), "is not JSON: "],
    ["[]", "must be an object, and is a list"],
    ["null", "must be an object, and is null"],
    [{ statusCode: 200 }, 'has an unknown field, number 1: it may have "status", "headers", "retry", "retry_after_ms"'],
    [{ retry: "no" }, 'has a "retry" that is a string: give true or false'],
    [{ retry_after_ms: -1 }, 'has a "retry_after_ms" that is a number: give a whole number of milliseconds, from 0'],
    [{ status: 199 }, 'has a "status" that is a number: give a whole number from 200 to 599'],
    [{ status: 101 }, 'has a "status" that is a number'],
    [{ status: 600 }, 'has a "status" that is a number'],
    [{ status: 200.5 }, 'has a "status" that is a number'],
    [{ status: "201" }, 'has a "status" that is a string'],
    [{ status: null }, 'has a "status" that is null'],
    [{ headers: [] }, 'has "headers" that are no object'],
    [{ headers: null }, 'has "headers" that are no object'],
    [{ headers: { "a b": "c" } }, "has a malformed name for header 1"],
    [{ headers: { "": "c" } }, "has a malformed name for header 1"],
    [{ headers: { "a\r\nset-cookie": "c" } }, "malformed name for header 1"],
    [{ headers: { "x-a": 1 } }, "has a number as the value of header 1: give a string, or a list of them"],
    [{ headers: { "x-a": ["b", null] } }, "has null as the value of header 1"],
    [
      { headers: { "x-a": "b\r\nc: d" } },
      "has a character that no header can have in the value of header 1: encode it",
    ],
    [{ headers: { "x-a": "€" } }, "character that no header can have"],
    [{ headers: { connection: "a\nb" } }, "character that no header can have"],
    [{ headers: { "X-A": "1", "x-a": "2" } }, "has the same name again for header 2: give its values as a list"],
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

  test("reads past a byte order mark", () => {
    expect(parse(`\u{feff}{"status": 201}`)).toEqual({ status: 201, headers: [], dropped: [] });
  });

  test("quotes nothing of the file in a problem, wherever it is", () => {
    const secret = "hunter2";
    const wrong = [secret, `"${secret}`, `{"status": ${secret}`, `"\\u${secret}"`, `{'${secret}': 1}`, `${secret}: 1`];
    const values: unknown[] = [secret, [secret], { [secret]: 1 }, { status: secret }, { headers: { [secret]: 1 } }];
    values.push({ headers: { [`${secret} `]: "x" } }, { headers: { [secret]: [{ a: secret }] } }, { retry: secret });
    values.push({ headers: { [secret]: `${secret}\n` } }, { headers: { [secret]: "", [secret.toUpperCase()]: "" } });
    for (const text of [...wrong, ...values]) {
      const found = parse(text);
      expect("problem" in found && found.problem).toBeString();
      expect(JSON.stringify(found).toLowerCase()).not.toContain(secret);
    }
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
