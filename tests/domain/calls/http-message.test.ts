import { expect, test } from "bun:test";
import fc from "fast-check";
import { isJsonType, parseQuery } from "../../../lib/domain/calls/http-message.ts";

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
