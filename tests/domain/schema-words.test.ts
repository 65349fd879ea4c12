import { Type } from "@sinclair/typebox";
import { expect, test } from "bun:test";
import { expectation } from "../../lib/domain/schema-words.ts";
import { Nullable } from "../../lib/domain/types.ts";

const words = Type.Array(Type.String());

test.each([
  [Type.Integer(), "a whole number"],
  [Type.Integer({ minimum: 1 }), "a whole number of at least 1"],
  [Type.Number({ minimum: 0.5, maximum: 2 }), "a number from 0.5 to 2"],
  [Type.String({ minLength: 1, maxLength: 5 }), "a string of 1 to 5 characters"],
  [Type.String({ maxLength: 5, pattern: "^a" }), "a string of at most 5 characters that matches ^a"],
  [Nullable(Type.Boolean()), "true or false or null"],
  [words, "a list of strings"],
  [{ ...words, minItems: 1 }, "a list of at least 1 strings"],
  [{ ...words, minItems: 1, maxItems: 3, uniqueItems: true }, "a list of 1 to 3 different strings"],
  [Type.Array(Type.Object({}), { maxItems: 3 }), "a list of at most 3 objects"],
  [Type.Array(Type.Integer()), "a list of items"],
  [
    Type.Array(Type.Union([Type.Literal("a"), Type.Literal("b")]), { maxItems: 2 }),
    'a list of at most 2 items, each "a" or "b"',
  ],
  [Type.Union([Type.Literal("a"), Type.Literal("b"), Type.Literal(3)]), '"a", "b" or 3'],
  [Type.Object({ a: Type.String() }), "an object"],
  [Type.Object({}, { additionalProperties: Type.String() }), "an object of strings"],
  [Type.Object({}, { additionalProperties: Type.String(), maxProperties: 2 }), "an object of at most 2 strings"],
])("expectation describes %j in words", (schema, expected) => {
  expect(expectation(schema)).toBe(expected);
});
