import { isObject, type Json, type JsonObject } from "../../../lib/http/openapi/schema.ts";

/** An operation of the document, its own reference resolved. */
export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly operation: JsonObject;
}

/** Reads an OpenAPI 3.0 document independently: it shares no code with what made the document. */
export class OpenApiDocument {
  readonly json: JsonObject;

  constructor(json: JsonObject) {
    this.json = json;
  }

  static async of(url: string, path = "/swagger/json"): Promise<OpenApiDocument> {
    const json: unknown = await (await fetch(url + path)).json();
    if (!isObject(json)) throw new Error(`${path} is no object`);
    return new OpenApiDocument(json);
  }

  operations(): Operation[] {
    return entries(this.json["paths"]).flatMap(([path, item]) =>
      entries(item).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path,
        operation: this.object(operation),
      })),
    );
  }

  /** Returns a value, or the target of its `$ref`. */
  resolve(value: Json | undefined): Json | undefined {
    if (!isObject(value) || typeof value["$ref"] !== "string") return value;
    const keys = value["$ref"].replace("#/", "").split("/");
    const found = keys.reduce<Json | undefined>((at, key) => (isObject(at) ? at[key] : undefined), this.json);
    if (found === undefined) throw new Error(`${value["$ref"]} leads nowhere`);
    return this.resolve(found);
  }

  object(value: Json | undefined): JsonObject {
    const resolved = this.resolve(value);
    return isObject(resolved) ? resolved : {};
  }

  /** The schema and the example of a response or a request body as JSON, if it has one. */
  media(value: Json | undefined): JsonObject | undefined {
    const media = this.object(this.object(value)["content"])["application/json"];
    return media === undefined ? undefined : this.object(media);
  }

  /** Says why a value does not match a schema, or undefined. Throws at keywords that our document does not use. */
  mismatch(given: Json | undefined, value: unknown, at = "it"): string | undefined {
    const schema = this.object(given);
    const unknown = Object.keys(schema).find((key) => !KNOWN.has(key));
    if (unknown !== undefined) throw new Error(`The schema at ${at} has "${unknown}", which is not checked`);
    if (value === null && schema["nullable"] === true) return undefined;
    const choices = schema["enum"];
    if (Array.isArray(choices)) {
      return choices.some((one) => one === value)
        ? undefined
        : `${at} is ${JSON.stringify(value)}, which is not in its enum`;
    }
    const alternatives = schema["anyOf"];
    if (Array.isArray(alternatives)) {
      const reasons = alternatives.map((one) => this.mismatch(one, value, at));
      return reasons.includes(undefined) ? undefined : reasons.join(", and ");
    }
    switch (schema["type"]) {
      case undefined:
        return undefined;
      case "object":
        return this.#objectMismatch(schema, value, at);
      case "array": {
        if (!Array.isArray(value)) return `${at} is not an array`;
        return (
          itemsMismatch(schema, value, at) ??
          value.map((one, i) => this.mismatch(schema["items"], one, `${at}[${i}]`)).find((why) => why !== undefined)
        );
      }
      case "boolean":
        return typeof value === "boolean" ? undefined : `${at} is not a boolean`;
      case "string":
        return stringMismatch(schema, value, at);
      case "integer":
      case "number":
        return numberMismatch(schema, value, at);
      default:
        return `${at} has the unknown type ${JSON.stringify(schema["type"])}`;
    }
  }

  #objectMismatch(schema: JsonObject, value: unknown, at: string): string | undefined {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return `${at} is not an object`;
    const properties = this.object(schema["properties"]);
    const required = Array.isArray(schema["required"]) ? schema["required"] : [];
    const missing = required.find((name) => typeof name === "string" && !Object.hasOwn(value, name));
    if (missing !== undefined) return `${at} has no ${JSON.stringify(missing)}`;
    if (Object.keys(value).length > Number(schema["maxProperties"] ?? Infinity)) return `${at} has too many fields`;
    // An object that is not an array; TypeScript only knows `object`.
    for (const [name, part] of Object.entries(value as Record<string, unknown>)) {
      // The document describes every field of an answer, even if it allows more.
      const rule = Object.hasOwn(properties, name) ? properties[name] : schema["additionalProperties"];
      if (rule === undefined || rule === false) return `${at} has ${JSON.stringify(name)}, which is not described`;
      const why = this.mismatch(rule, part, `${at}.${name}`);
      if (why !== undefined) return why;
    }
    return undefined;
  }
}

const KNOWN = new Set([
  "type",
  "enum",
  "nullable",
  "writeOnly",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "pattern",
  "minLength",
  "maxLength",
  "minimum",
  "maximum",
  "description",
  "example",
  "minItems",
  "maxItems",
  "uniqueItems",
  "maxProperties",
  "anyOf",
]);

function itemsMismatch(schema: JsonObject, value: readonly unknown[], at: string): string | undefined {
  const { minItems = 0, maxItems = Infinity, uniqueItems } = schema;
  if (value.length < Number(minItems) || value.length > Number(maxItems)) return `${at} has a wrong number of items`;
  const distinct = new Set(value.map((one) => JSON.stringify(one))).size;
  return uniqueItems === true && distinct < value.length ? `${at} has a duplicate item` : undefined;
}

function stringMismatch(schema: JsonObject, value: unknown, at: string): string | undefined {
  if (typeof value !== "string") return `${at} is not a string`;
  const { minLength = 0, maxLength = Infinity, pattern } = schema;
  if (value.length < Number(minLength) || value.length > Number(maxLength)) return `${at} has a wrong length`;
  if (typeof pattern === "string" && !new RegExp(pattern, "u").test(value)) return `${at} does not match ${pattern}`;
  return undefined;
}

function numberMismatch(schema: JsonObject, value: unknown, at: string): string | undefined {
  if (typeof value !== "number" || (schema["type"] === "integer" && !Number.isInteger(value)))
    return `${at} is not a number`;
  const { minimum = -Infinity, maximum = Infinity } = schema;
  return value >= Number(minimum) && value <= Number(maximum) ? undefined : `${at} is out of range`;
}

function entries(value: Json | undefined): [string, Json][] {
  return isObject(value) ? Object.entries(value) : [];
}
