/** A JSON value. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** Whether a value is a JSON object; what was parsed as JSON holds nothing else. */
export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Turns TypeBox's JSON Schema, wherever it stands in a document, into the dialect of OpenAPI 3.0. */
export function toOpenApi(value: unknown): Json {
  if (Array.isArray(value)) return value.map(toOpenApi);
  if (!isObject(value))
    return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null;
  const choices = value["anyOf"];
  if (Array.isArray(choices)) return union(value, choices);
  const { $id: _id, const: constant, patternProperties, examples, ...rest } = value;
  const converted = Object.fromEntries(Object.entries(rest).map(([key, entry]) => [key, toOpenApi(entry)]));
  if (constant !== undefined) converted["enum"] = [constant];
  // A property may be called "examples" or "const"; only a schema has a list there.
  if (Array.isArray(examples) && examples[0] !== undefined) converted["example"] = examples[0];
  if (isObject(patternProperties))
    converted["additionalProperties"] = toOpenApi(Object.values(patternProperties)[0] ?? {});
  if (converted["type"] === "null") return { nullable: true, enum: [null] };
  return converted;
}

/** `anyOf` with null is `nullable`, and `anyOf` of constants an `enum`. */
function union({ anyOf: _anyOf, ...outer }: JsonObject, choices: readonly Json[]): Json {
  const some = choices.filter((choice) => !(isObject(choice) && choice["type"] === "null"));
  const nullable = some.length < choices.length ? { nullable: true } : {};
  const around = toOpenApi(outer);
  const constants = some.flatMap((choice) =>
    isObject(choice) && choice["const"] !== undefined ? [choice["const"]] : [],
  );
  if (constants.length === some.length) {
    return {
      type: "string",
      enum: [...constants, ...("nullable" in nullable ? [null] : [])],
      ...nullable,
      ...(isObject(around) ? around : {}),
    };
  }
  const [only] = some;
  if (some.length === 1 && only !== undefined) {
    const inner = toOpenApi(only);
    return { ...(isObject(inner) ? inner : {}), ...nullable, ...(isObject(around) ? around : {}) };
  }
  return { anyOf: some.map(toOpenApi), ...nullable, ...(isObject(around) ? around : {}) };
}

/** An example of what a schema describes, put together from the examples of its parts. */
export function exampleOf(schema: Json): Json {
  if (!isObject(schema)) return null;
  if (schema["example"] !== undefined) return schema["example"];
  const choices = schema["enum"];
  if (Array.isArray(choices)) return choices[0] ?? null;
  if (schema["nullable"] === true) return null;
  const properties = schema["properties"];
  if (isObject(properties))
    return Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, exampleOf(property)]));
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
