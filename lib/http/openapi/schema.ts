import { DOCUMENTED } from "../wire/parameters.ts";

/** A JSON value. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** Returns whether a value is a JSON object. Its members are taken to be JSON. */
export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Converts TypeBox's JSON Schema to the dialect of OpenAPI 3.0. */
export function toOpenApi(schema: unknown): JsonObject {
  // JSON drops TypeBox's symbols and undefined.
  const plain: unknown = JSON.parse(JSON.stringify(schema ?? {}));
  const converted = convert(plain);
  return isObject(converted) ? converted : {};
}

function convert(value: unknown): Json {
  if (Array.isArray(value)) return value.map(convert);
  if (!isObject(value)) {
    return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null;
  }
  const documented = value[DOCUMENTED];
  if (isObject(documented)) return { description: value["description"] ?? "", ...documented };
  const choices = value["anyOf"];
  if (Array.isArray(choices)) return union(value, choices);
  const { $id: _id, const: constant, examples, ...rest } = value;
  const converted = Object.fromEntries(Object.entries(rest).map(([key, entry]) => [key, convert(entry)]));
  if (constant !== undefined) converted["enum"] = [constant];
  if (Array.isArray(examples) && examples[0] !== undefined) converted["example"] = examples[0];
  // 3.0 has no type "null", and `nullable` only works together with a type.
  return converted["type"] === "null" ? { ...converted, type: "object", nullable: true, enum: [null] } : converted;
}

/** Converts `anyOf` with null to `nullable`, and `anyOf` of constants to an `enum`. */
function union({ anyOf: _anyOf, ...outer }: JsonObject, choices: readonly Json[]): JsonObject {
  const some = choices.filter((choice) => !(isObject(choice) && choice["type"] === "null")).map(convert);
  const around = convert(outer);
  const merged: JsonObject = { ...oneOf(some), ...(isObject(around) ? around : {}) };
  if (some.length === choices.length) return merged;
  const values = merged["enum"];
  return { ...merged, nullable: true, ...(Array.isArray(values) ? { enum: [...values, null] } : {}) };
}

function oneOf(choices: readonly Json[]): JsonObject {
  const [only] = choices;
  if (choices.length === 1 && isObject(only)) return only;
  const constants = choices.flatMap((choice) =>
    isObject(choice) && Array.isArray(choice["enum"]) ? choice["enum"] : [],
  );
  return constants.length === choices.length ? { type: "string", enum: constants } : { anyOf: [...choices] };
}

/** Returns an example for a schema, made of the examples of its parts. */
export function exampleOf(schema: Json): Json {
  if (!isObject(schema)) return null;
  if (schema["example"] !== undefined) return schema["example"];
  if (schema["nullable"] === true) return null;
  const choices = schema["enum"];
  if (Array.isArray(choices)) return choices[0] ?? null;
  const alternatives = schema["anyOf"];
  if (Array.isArray(alternatives)) return exampleOf(alternatives[0] ?? {});
  const properties = schema["properties"];
  if (isObject(properties)) {
    return Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, exampleOf(property)]));
  }
  switch (schema["type"]) {
    case "array":
      return [exampleOf(schema["items"] ?? {})];
    case "integer":
    case "number":
      return schema["minimum"] ?? 0;
    case "boolean":
      return true;
    case "string":
      return "string";
    default:
      return {};
  }
}

/** Puts references in place of schemas that have a name: in any part of a document, or in the named schemas themselves. */
export interface References {
  inside(part: Json): Json;
}

/** Returns what puts references to `components` in place of every schema that is in it. */
export function referencesTo(components: JsonObject): References {
  const names = new Map(Object.entries(components).map(([name, schema]) => [JSON.stringify(schema), name]));
  const refer = (part: Json): Json => {
    const name = names.get(JSON.stringify(part));
    return name === undefined ? inside(part) : { $ref: `#/components/schemas/${name}` };
  };
  const inside = (part: Json): Json => {
    if (Array.isArray(part)) return part.map(refer);
    if (!isObject(part)) return part;
    return Object.fromEntries(Object.entries(part).map(([key, entry]) => [key, refer(entry)]));
  };
  return { inside };
}
