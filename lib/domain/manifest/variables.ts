import { type TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { MANIFEST_DEPTH, MANIFEST_EXPANDED_LENGTH, MANIFEST_VALUES } from "../limits.ts";

/** `$$`, `${...}`, or an unclosed `${`. */
const MENTION = /\$\$|\$\{(?:([^}]*)\})?/g;
/** The text in the braces: a name and, after `:-`, a default. */
const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;
/** The most names in a message. */
const NAMES = 50;

/** Returns the names of the variables that a text mentions. */
export function variablesIn(text: string): Set<string> {
  const mentioned = [...text.matchAll(MENTION)].map(([, inside = ""]) => VARIABLE.exec(inside)?.[1]);
  return new Set(mentioned.filter((name) => name !== undefined));
}

/** Returns a copy of a value that expands to itself: every dollar is escaped. */
export function escapeDollars(value: unknown): unknown {
  if (typeof value === "string") return value.replaceAll("$", "$$$$");
  if (Array.isArray(value)) return value.map(escapeDollars);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, escapeDollars(inner)]));
}

/**
 * Returns a copy of a parsed manifest with its variables replaced, as a plain tree: values that YAML aliases share, even
 * in circles, are copied, within limits. A text with variables becomes a number or the like if the schema wants one.
 * Throws `invalid_request`, which names all missing variables.
 */
export function expand(value: unknown, schema: TSchema, variables: Readonly<Record<string, string>>): unknown {
  const expansion = new Expansion(variables);
  const expanded = expansion.of(value, schema, []);
  const missing = [...expansion.missing].map((name) => JSON.stringify(name));
  if (missing.length === 0) return expanded;
  const named = missing.length > NAMES ? [...missing.slice(0, NAMES), `${missing.length - NAMES} more`] : missing;
  throw new AppError(
    "invalid_request",
    `The manifest mentions variables that were not given: ${named.join(", ")}. Give them, or write \${NAME:-default}`,
  );
}

class Expansion {
  readonly missing = new Set<string>();
  readonly #variables: Readonly<Record<string, string>>;
  #values = 0;
  #length = 0;

  constructor(variables: Readonly<Record<string, string>>) {
    this.#variables = variables;
  }

  of(value: unknown, schema: TSchema | undefined, path: readonly string[]): unknown {
    if (++this.#values > MANIFEST_VALUES) throw tooLarge(`has more than ${MANIFEST_VALUES} values`);
    if (path.length > MANIFEST_DEPTH) throw tooLarge(`is nested deeper than ${MANIFEST_DEPTH} levels`);
    if (typeof value === "string") return this.#text(value, schema, path);
    if (Array.isArray(value)) {
      const items = itemsOf(schema);
      return value.map((item, index) => this.of(item, items, [...path, String(index)]));
    }
    if (value === null || typeof value !== "object") return value;
    // Not by assignment, which would set the prototype for a field `__proto__`.
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => {
        this.#count(key);
        return [key, this.of(inner, propertyOf(schema, key), [...path, key])];
      }),
    );
  }

  #text(text: string, schema: TSchema | undefined, path: readonly string[]): unknown {
    this.#count(text);
    const expanded = text.includes("$")
      ? text.replaceAll(MENTION, (mention: string, inside: string | undefined) =>
          mention === "$$" ? "$" : this.#valueOf(mention, inside, path),
        )
      : text;
    return expanded === text || schema === undefined ? expanded : typed(expanded, schema);
  }

  #valueOf(mention: string, inside: string | undefined, path: readonly string[]): string {
    const [, name, fallback] = VARIABLE.exec(inside ?? "") ?? [];
    if (name === undefined || fallback?.includes("${")) {
      throw new AppError(
        "invalid_request",
        `Invalid ${quoted(path.join("/"), 200)}: ${quoted(mention)} is not a variable: write ` +
          "${NAME} or ${NAME:-default} (with no other variable in it), or $${ for a dollar and a brace",
      );
    }
    const value = Object.hasOwn(this.#variables, name) ? this.#variables[name] : undefined;
    // At each mention: together they could exceed the memory.
    this.#count(value ?? "");
    // As in a shell, an empty variable takes its default.
    if (fallback !== undefined) return value === undefined || value === "" ? fallback.replaceAll("$$", "$") : value;
    if (value === undefined) this.missing.add(name);
    return value ?? "";
  }

  #count({ length }: string): void {
    this.#length += length;
    if (this.#length <= MANIFEST_EXPANDED_LENGTH) return;
    throw tooLarge(
      `has more than ${MANIFEST_EXPANDED_LENGTH} characters with all variables and aliases in their places`,
    );
  }
}

/** Converts a text to the number, boolean or null that its schema wants. */
function typed(text: string, schema: TSchema): unknown {
  if (Value.Check(schema, text)) return text;
  const value = /^(?:true|false|null|-?\d+(?:\.\d+)?)$/.test(text) ? (JSON.parse(asJson(text)) as unknown) : text;
  return Value.Check(schema, value) ? value : text;
}

/** Removes leading zeros, which JSON does not allow. */
function asJson(text: string): string {
  return text.replace(/^(-?)0+(?=\d)/, "$1");
}

/** Returns the alternatives of a schema. */
function choicesOf(schema: TSchema | undefined): readonly TSchema[] {
  if (schema === undefined) return [];
  const choices: unknown = schema["anyOf"];
  return Array.isArray(choices) ? choices.flatMap((choice: TSchema) => choicesOf(choice)) : [schema];
}

function itemsOf(schema: TSchema | undefined): TSchema | undefined {
  return choicesOf(schema)
    .map(({ items }) => items as unknown)
    .find(isSchema);
}

function propertyOf(schema: TSchema | undefined, key: string): TSchema | undefined {
  return choicesOf(schema)
    .map(({ properties, additionalProperties }) => {
      const known: unknown = properties;
      // Properties are schemas.
      const own = isSchema(known) && Object.hasOwn(known, key) ? (known as Record<string, unknown>)[key] : undefined;
      return own ?? (additionalProperties as unknown);
    })
    .find(isSchema);
}

function isSchema(value: unknown): value is TSchema {
  return value !== null && typeof value === "object";
}

function tooLarge(why: string): AppError {
  return new AppError("invalid_request", `The manifest ${why}: apply it in parts`);
}
