import { type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AppError } from "../../domain/errors.ts";
import { MANIFEST_VALUES } from "../../domain/limits.ts";
import { ApplyManifest, type ApplyOptions, Manifest } from "../../domain/manifest/manifest.ts";
import { parseManifestText } from "../../domain/manifest/text.ts";
import { expand } from "../../domain/manifest/variables.ts";
import { parseJson } from "../wire/body.ts";
import { validationMessage } from "../wire/validation-message.ts";

/** The manifest in a request, with the options of the same body. */
export interface ManifestBody extends Partial<ApplyOptions> {
  readonly manifest: Manifest;
}

/** The JSON object around a manifest, which may be an object or a string of YAML. */
const Around = Type.Object({ ...ApplyManifest.properties, manifest: Type.Unknown() }, { additionalProperties: false });

/** Parts of a manifest that may be empty, which YAML reads as null. */
const PARTS = ["functions", "routes", "secrets"] as const;

/**
 * Reads the manifest in a request's body, with its variables filled in. The body is YAML, JSON, or a JSON object around
 * either. Throws `invalid_request` and `payload_too_large`.
 */
export function parseManifestBody(bytes: Uint8Array, contentType: string | null): ManifestBody {
  if (bytes.length === 0) throw invalid("The request has no body: send a manifest, as YAML or JSON");
  const text = decoded(bytes);
  const isYaml = /^[^;]*\byaml\b/i.test(contentType ?? "");
  if (isYaml || !text.trimStart().startsWith("{")) return { manifest: manifestOf(parseManifestText(text), {}) };
  const value = parseJson(bytes, MANIFEST_VALUES);
  if (!isObject(value) || !Object.hasOwn(value, "manifest")) return { manifest: manifestOf(value, {}) };
  const { manifest, variables = {}, ...options } = checked(Around, value);
  const parsed = typeof manifest === "string" ? parseManifestText(manifest) : manifest;
  return { ...options, manifest: manifestOf(parsed, variables) };
}

function manifestOf(value: unknown, variables: Readonly<Record<string, string>>): Manifest {
  if (!isObject(value)) {
    const what = Array.isArray(value) ? "a list, or several documents" : "none";
    throw invalid(
      `The manifest must be an object such as {"version": 1, "functions": {}, "routes": {}}, but it is ${what}: ` +
        "see GET /v1/export",
    );
  }
  const given = Object.entries(value).filter(([name, part]) => part !== null || !PARTS.some((known) => known === name));
  return checked(Manifest, expand(Object.fromEntries(given), Manifest, variables), Object.values(variables));
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
