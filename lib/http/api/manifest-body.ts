import { type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AppError } from "../../domain/errors.ts";
import { Slices } from "../../domain/concurrency.ts";
import { MANIFEST_PART_ENTRIES, MANIFEST_VALUES } from "../../domain/limits.ts";
import { foreignKind } from "../../domain/foreign/convert.ts";
import { ApplyManifest, type ApplyOptions, Manifest } from "../../domain/manifest/manifest.ts";
import { parseManifestText } from "../../domain/manifest/text.ts";
import { type ParseText, withParser } from "../../domain/manifest/parser-thread.ts";
import { expandInSlices } from "../../domain/manifest/variables.ts";
import { notJson } from "../../domain/json-text.ts";
import { parseJson } from "../wire/body.ts";
import { validationMessage } from "../wire/validation-message.ts";

/** The manifest in a request, with the options of the same body. */
export interface ManifestBody extends Partial<ApplyOptions> {
  readonly manifest: Manifest;
}

/** The JSON object around a manifest, which may be an object or a string of YAML. */
const Around = Type.Object({ ...ApplyManifest.properties, manifest: Type.Unknown() }, { additionalProperties: false });

/** The fields of a manifest that are read: it has four. */
const FIELDS = 50;
/** The longest JSON that is parsed at once. */
const SHORT_BYTES = 128 * 1024;

/** Parts of a manifest that may be empty, which YAML reads as null. */
const PARTS = ["functions", "routes", "secrets"] as const;

/**
 * Reads the manifest in a request's body, with its variables filled in. The body is YAML, JSON, or a JSON object around
 * either. Throws `invalid_request` and `payload_too_large`.
 */
export function parseManifestBody(bytes: Uint8Array, contentType: string | null): Promise<ManifestBody> {
  return withParser((parse) => parseBody(bytes, contentType, parse));
}

async function parseBody(bytes: Uint8Array, contentType: string | null, parse: ParseText): Promise<ManifestBody> {
  if (bytes.length === 0) throw invalid("The request has no body: send a manifest, as YAML or JSON");
  const text = decoded(bytes);
  const isYaml = /^[^;]*\byaml\b/i.test(contentType ?? "");
  if (isYaml || !text.trimStart().startsWith("{")) {
    return { manifest: await manifestOf(await parseManifestText(text, parse), {}) };
  }
  const value = bytes.length <= SHORT_BYTES ? parseJson(bytes, MANIFEST_VALUES) : await parseLongJson(text, parse);
  if (!isObject(value) || !Object.hasOwn(value, "manifest")) return { manifest: await manifestOf(value, {}) };
  const { manifest, variables = {}, ...options } = checked(Around, value);
  const parsed = typeof manifest === "string" ? await parseManifestText(manifest, parse) : manifest;
  return { ...options, manifest: await manifestOf(parsed, variables) };
}

/** Parses JSON in a thread. */
async function parseLongJson(text: string, parse: ParseText): Promise<unknown> {
  try {
    return await parse(text, "json", true);
  } catch (error) {
    throw error instanceof AppError ? error : invalid(`The request body is not JSON: ${notJson(error).message}`);
  }
}

async function manifestOf(value: unknown, variables: Readonly<Record<string, string>>): Promise<Manifest> {
  const foreign = foreignKind(value);
  if (foreign !== undefined)
    throw invalid(
      `The body is no manifest but a file of another platform (${foreign}): slipway apply converts and sends it`,
    );
  if (!isObject(value)) {
    const what = Array.isArray(value) ? "a list, or several documents" : "none";
    throw invalid(
      `The manifest must be an object such as {"version": 1, "functions": {}, "routes": {}}, but it is ${what}: ` +
        "see GET /v1/export",
    );
  }
  const given = Object.entries(value)
    .filter(([name, part]) => part !== null || !PARTS.some((known) => known === name))
    // The first unknown field is enough for the message.
    .slice(0, FIELDS);
  const expanded = await expandInSlices(Object.fromEntries(given), Manifest, variables);
  return checkedInSlices(expanded, Object.values(variables));
}

/** Checks the parts of a manifest one by one: with 10,000 of them the whole would take half a second. */
async function checkedInSlices(expanded: Readonly<Record<string, unknown>>, variables: readonly string[]) {
  const { functions, routes } = expanded;
  const frame = { ...expanded, ...(isObject(functions) && { functions: {} }), ...(isObject(routes) && { routes: {} }) };
  checked(Manifest, frame, variables);
  const slices = new Slices();
  for (const [part, entries] of Object.entries({ functions, routes })) {
    if (!isObject(entries)) continue;
    for (const [name, entry] of Object.entries(entries)) {
      // Object.fromEntries, since a name may be `__proto__`.
      checked(Manifest, { version: 1, [part]: Object.fromEntries([[name, entry]]) }, variables);
      if (slices.over) await slices.next();
    }
    const { length } = Object.keys(entries);
    if (length > MANIFEST_PART_ENTRIES)
      throw invalid(`The manifest has ${length} ${part}: at most ${MANIFEST_PART_ENTRIES} are allowed`);
  }
  // Each part of it was checked.
  return expanded as Manifest;
}

/** Returns the value if it is of the schema. The message for one that is not shows no value of a variable. */
function checked<T extends TSchema>(schema: T, value: unknown, variables: readonly string[] = []) {
  if (Value.Check(schema, value)) return value;
  const validator = { schema, Errors: (wrong: unknown) => Value.Errors(schema, wrong) };
  throw invalid(validationMessage("body", validator, value, variables));
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function decoded(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw invalid("The request body is not UTF-8: send a manifest, as YAML or JSON");
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function invalid(message: string): AppError {
  return new AppError("invalid_request", message);
}
