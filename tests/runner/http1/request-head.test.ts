import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeChunk, encodeRequestHead } from "../../../lib/runner/http1/request-head.ts";

const encode = (method: string, target: string, headers: [string, string][]) =>
  Buffer.from(encodeRequestHead({ method, target, headers })).toString("latin1");

test("encodeRequestHead writes a request line, the headers as they are, and an empty line", () => {
  expect(
    encode("GET", "/a%20b?c=d", [
      ["Host", "example.com"],
      ["X", "caf\xe9"],
    ]),
  ).toBe("GET /a%20b?c=d HTTP/1.1\r\nHost: example.com\r\nX: caf\xe9\r\n\r\n");
});

test.each([
  ["a method", "GE T", "/", []],
  ["no method", "", "/", []],
  ["a path with a space", "GET", "/ HTTP/1.1", []],
  ["a path with CR LF", "GET", "/\r\nX: y", []],
  ["a name with CR LF", "GET", "/", [["X: y\r\nZ", "a"]]],
  ["a name with a space", "GET", "/", [["X ", "a"]]],
  ["a value with CR LF", "GET", "/", [["X", "a\r\nY: b"]]],
  ["a value with a NUL", "GET", "/", [["X", "a\0"]]],
  ["a value beyond one byte", "GET", "/", [["X", "\u2028"]]],
] as [string, string, string, [string, string][]][])("encodeRequestHead refuses %s", (_, method, target, headers) => {
  expect(() => encode(method, target, headers)).toThrow(RangeError);
});

test("encodeRequestHead never writes another line than it was given, whatever it was given", () => {
  const text = fc.string({ unit: "binary", maxLength: 30 });
  fc.assert(
    fc.property(text, text, fc.array(fc.tuple(text, text), { maxLength: 4 }), (method, target, headers) => {
      let head: string;
      try {
        head = encode(method, target, headers);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
        return;
      }
      expect(head.split("\r\n")).toHaveLength(headers.length + 3);
      expect(head.replaceAll("\r\n", "")).not.toMatch(/[\r\n\0]/);
    }),
    { numRuns: 300 },
  );
});

test("encodeChunk refuses an empty piece, which would end the body", () => {
  expect(() => encodeChunk(new Uint8Array(0))).toThrow(RangeError);
});
