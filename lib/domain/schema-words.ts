import type { TSchema } from "@sinclair/typebox";

/** Describes the values that a schema allows, to follow "it must be". */
export function expectation(schema: TSchema): string {
  const choices: unknown = schema["anyOf"];
  if (Array.isArray(choices)) return inWords(choices.map((choice: TSchema) => expectation(choice)));
  if (schema["const"] !== undefined) return JSON.stringify(schema["const"]);
  switch (schema["type"]) {
    case "integer":
      return `a whole number${range(schema)}`;
    case "number":
      return `a number${range(schema)}`;
    case "string":
      return text(schema);
    case "boolean":
      return "true or false";
    case "null":
      return "null";
    case "array":
      return list(schema);
    case "object":
      return map(schema);
    default:
      return "another kind of value";
  }
}

/** Joins choices: "a", "a or b", "a, b or c". */
function inWords(choices: readonly string[]): string {
  return choices.length < 2 ? choices.join("") : `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
}

function range(schema: TSchema): string {
  const { minimum, maximum } = schema;
  if (typeof minimum === "number" && typeof maximum === "number") return ` from ${minimum} to ${maximum}`;
  return typeof minimum === "number" ? ` of at least ${minimum}` : "";
}

function text(schema: TSchema): string {
  const { minLength, maxLength, pattern } = schema;
  const parts = ["a string"];
  if (typeof minLength === "number" && typeof maxLength === "number") {
    parts.push(`of ${minLength} to ${maxLength} characters`);
  } else if (typeof maxLength === "number") parts.push(`of at most ${maxLength} characters`);
  if (typeof pattern === "string") parts.push(`that matches ${pattern}`);
  return parts.join(" ");
}

function list({ minItems, maxItems, uniqueItems, items }: TSchema): string {
  const which = uniqueItems === true ? "different " : "";
  const nouns = `${which}${isSchema(items) ? plural(items) : "items"}`;
  if (typeof minItems === "number" && typeof maxItems === "number")
    return `a list of ${minItems} to ${maxItems} ${nouns}`;
  if (typeof minItems === "number") return `a list of at least ${minItems} ${nouns}`;
  return typeof maxItems === "number" ? `a list of at most ${maxItems} ${nouns}` : `a list of ${nouns}`;
}

function plural(items: TSchema): string {
  if (items["type"] === "string") return "strings";
  if (items["type"] === "object") return "objects";
  return Array.isArray(items["anyOf"]) ? `items, each ${expectation(items)}` : "items";
}

function map({ additionalProperties, maxProperties }: TSchema): string {
  if (!isSchema(additionalProperties)) return "an object";
  return typeof maxProperties === "number" ? `an object of at most ${maxProperties} strings` : "an object of strings";
}

function isSchema(value: unknown): value is TSchema {
  return value !== null && typeof value === "object";
}
