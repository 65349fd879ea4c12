import { type TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { Slices } from "../concurrency.ts";
import { MANIFEST_DEPTH, MANIFEST_ENTRY_VALUES, MANIFEST_EXPANDED_LENGTH, MANIFEST_VALUES } from "../limits.ts";

/** `$$`, `${...}`, or an unclosed `${`. */
const MENTION = /\$\$|\$\{(?:([^}]*)\})?/g;
/** The same after the last `}` of a text, where nothing is closed: looking for it from each `${` would take quadratic time. */
const UNCLOSED = /\$\$|\$\{/g;
/** The text in the braces: a name and, after `:-`, a default. */
const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;
/** The most variables and escaped dollars of one value: some 10 ms of the event loop. */
const MENTIONS = 10_000;
/** The most names in a message. */
const NAMES = 50;

/** Returns the names of the variables that a text mentions. */
export function variablesIn(text: string): Set<string> {
  const closed = text.slice(0, text.lastIndexOf("}") + 1);
  const mentioned = [...closed.matchAll(MENTION)].map(([, inside = ""]) => VARIABLE.exec(inside)?.[1]);
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
  expansion.requireAll();
  return expanded;
}

/** Like `expand` for an object whose fields may have thousands of entries, which are expanded in slices. */
export async function expandInSlices(
  value: Readonly<Record<string, unknown>>,
  schema: TSchema,
  variables: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, unknown>>> {
  const expansion = new Expansion(variables);
  const slices = new Slices();
  const fields: [string, unknown][] = [];
  for (const [name, part] of Object.entries(value)) {
    const partSchema = propertyOf(schema, name);
    if (!isObject(part)) {
      fields.push([name, expansion.part(name, part, partSchema, [name])]);
      continue;
    }
    const entries: [string, unknown][] = [];
    for (const [key, entry] of Object.entries(part)) {
      entries.push([key, expansion.part(key, entry, propertyOf(partSchema, key), [name, key])]);
      if (slices.over) await slices.next();
    }
    fields.push([name, Object.fromEntries(entries)]);
  }
  expansion.requireAll();
  return Object.fromEntries(fields);
}

/** Throws `invalid_request` if variables are missing. */
function requireAll(names: ReadonlySet<string>): void {
  const missing = [...names].map((name) => JSON.stringify(name));
  if (missing.length === 0) return;
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
  #most = MANIFEST_VALUES;
  #length = 0;

  constructor(variables: Readonly<Record<string, string>>) {
    this.#variables = variables;
  }

  /** Throws `invalid_request` if variables were missing so far. */
  requireAll(): void {
    requireAll(this.missing);
  }

  /** Expands a part of a manifest, which may have so many values that it takes some milliseconds. */
  part(key: string, value: unknown, schema: TSchema | undefined, path: readonly string[]): unknown {
    this.#count(key);
    const before = this.#values;
    this.#most = Math.min(MANIFEST_VALUES, before + MANIFEST_ENTRY_VALUES);
    return this.of(value, schema, path);
  }

  of(value: unknown, schema: TSchema | undefined, path: readonly string[]): unknown {
    if (++this.#values > this.#most) {
      throw this.#most === MANIFEST_VALUES
        ? tooLarge(`has more than ${MANIFEST_VALUES} values`)
        : tooLarge(`has more than ${MANIFEST_ENTRY_VALUES} values in ${quoted(path.slice(0, 2).join("/"))}`);
    }
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
    const expanded = text.includes("$") ? this.#replaced(text, path) : text;
    return expanded === text || schema === undefined ? expanded : typed(expanded, schema);
  }

  #replaced(text: string, path: readonly string[]): string {
    const end = text.lastIndexOf("}") + 1;
    let mentions = 0;
    const replaced = (mention: string, inside: string | undefined) => {
      if (++mentions > MENTIONS) throw tooLarge(`has more than ${MENTIONS} dollars in ${quoted(path.join("/"), 200)}`);
      return mention === "$$" ? "$" : this.#valueOf(mention, inside, path);
    };
    const closed = text.slice(0, end).replaceAll(MENTION, replaced);
    return closed + text.slice(end).replaceAll(UNCLOSED, (mention) => replaced(mention, undefined));
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

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function isSchema(value: unknown): value is TSchema {
  return value !== null && typeof value === "object";
}

function tooLarge(why: string): AppError {
  return new AppError("invalid_request", `The manifest ${why}: apply it in parts`);
}
