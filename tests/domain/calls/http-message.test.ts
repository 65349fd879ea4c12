import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  encodeRequestMeta,
  isJsonType,
  parseQuery,
  type RequestMessage,
} from "../../../lib/domain/calls/http-message.ts";

test("encodeRequestMeta adds what is known when the function starts", () => {
  const message: RequestMessage = {
    method: "PUT",
    url: "/r/hello/a%20b?x=1",
    path: "/hello/a b",
    path_rest: "a b",
    route: "/hello/*",
    query: { x: ["1"] },
    query_string: "x=1",
    headers: { host: "localhost" },
    client_address: "127.0.0.1",
  };
  const fn = { id: "f", name: null, version: 3, timeout_ms: 1_500 };
  const bytes = encodeRequestMeta(message, { request_id: "r", function: fn, now: Date.UTC(2026, 0, 31) });
  expect(JSON.parse(Buffer.from(bytes).toString())).toEqual({
    ...message,
    request_id: "r",
    function: { id: "f", name: null, version: 3 },
    timeout_ms: 1_500,
    deadline: "2026-01-31T00:00:01.500Z",
  });
});

test.each([
  ["", {}],
  ["a", { a: [""] }],
  ["a=1&b=2&a=3", { a: ["1", "3"], b: ["2"] }],
  ["a+b=%C3%A9&c=%zz", { "a b": ["é"], c: ["%zz"] }],
  [
    "__proto__=1&constructor=2",
    Object.fromEntries([
      ["__proto__", ["1"]],
      ["constructor", ["2"]],
    ]),
  ],
])("parseQuery(%j)", (query, expected) => expect(parseQuery(query)).toEqual(expected));

test("parseQuery keeps every value, in order", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string(), fc.string())), (pairs) => {
      const query = new URLSearchParams(pairs);
      const parsed = parseQuery(query.toString());
      expect(new Set(Object.keys(parsed))).toEqual(new Set(query.keys()));
      for (const name of query.keys())
        expect(Object.getOwnPropertyDescriptor(parsed, name)?.value).toEqual(query.getAll(name));
    }),
  );
});

test.each([
  ["application/json", true],
  ["Application/JSON; charset=utf-8", true],
  ["application/problem+json", true],
  ["application/vnd.api+json;x=y", true],
  ["application/x-www-form-urlencoded", false],
  ["text/plain", false],
  ["application/jsonl", false],
  ["+json", false],
  ["", false],
  [null, false],
])("isJsonType(%j) is %p", (type, expected) => expect(isJsonType(type)).toBe(expected));
