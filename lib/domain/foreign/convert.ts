import { AppError } from "../errors.ts";
import type { Manifest, ManifestFunction } from "../manifest/manifest.ts";
import { escapeDollars } from "../manifest/variables.ts";
import { composeFunctions, isCompose } from "./compose.ts";
import { isKnative, knativeFunction } from "./knative.ts";
import { type Note, Source } from "./source.ts";
import { isStack, type ReadFile, stackFunctions } from "./stack.ts";

/** A file of another platform as a manifest, and the parts of it that have no counterpart. */
export interface Converted {
  readonly kind: "OpenFaaS stack" | "Knative service" | "compose file";
  readonly manifest: Manifest;
  readonly notes: readonly Note[];
}

/** Returns the kind of a file of another platform, given what its YAML or JSON has; undefined for anything else. */
export function foreignKind(value: unknown): Converted["kind"] | undefined {
  const documents: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (documents.some(isKnative)) return "Knative service";
  if (isStack(value)) return "OpenFaaS stack";
  return isCompose(value) ? "compose file" : undefined;
}

/**
 * Converts a file of another platform; undefined for any other text. `variables` are filled in where that platform's own tool does it.
 * Throws `invalid_request`.
 */
export async function convertForeign(
  text: string,
  variables: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): Promise<Converted | undefined> {
  const value = parsed(text);
  const documents: readonly unknown[] = (Array.isArray(value) ? value : [value]).filter((one: unknown) => one !== null);
  if (documents.some(isKnative)) return knative(documents);
  const [only] = documents;
  if (documents.length !== 1) return undefined;
  if (isStack(only)) {
    const source = new Source(expanded(only, variables));
    const functions = await stackFunctions(source.part(), readFile);
    return { kind: "OpenFaaS stack", manifest: manifestOf(functions), notes: source.notes(REASONS_OF_STACK) };
  }
  if (!isCompose(only)) return undefined;
  const source = new Source(expanded(only, variables));
  const functions = await composeFunctions(source.part(), readFile);
  if (Object.keys(functions).length === 0) {
    const message = 'None of the services has a label such as "slipway.contract": give one to each that is a function';
    throw new AppError("invalid_request", message);
  }
  return { kind: "compose file", manifest: manifestOf(functions), notes: source.notes(REASONS_OF_COMPOSE) };
}

function knative(documents: readonly unknown[]): Converted {
  const functions: Record<string, ManifestFunction> = {};
  const notes: Note[] = [];
  documents.forEach((document, index) => {
    const where = documents.length === 1 ? "" : `document ${index + 1}: `;
    const source = new Source(document);
    if (isKnative(document)) {
      const [name, fn] = knativeFunction(source.part());
      functions[name] = fn;
    } else source.part().at("kind").note("only services are functions");
    notes.push(...source.notes().map(({ path, problem }) => ({ path: `${where}${path}`, problem })));
  });
  return { kind: "Knative service", manifest: manifestOf(functions), notes };
}

function manifestOf(functions: Record<string, ManifestFunction>): Manifest {
  const secrets = Object.values(functions).flatMap((fn) => (fn.secrets ?? []).map(({ name }) => name));
  const manifest = { version: 1, functions, ...(secrets.length > 0 && { secrets: [...new Set(secrets)] }) };
  return escapeDollars(manifest) as Manifest; // only texts differ
}

const REASONS_OF_STACK = (path: string): string | undefined =>
  path === "provider.gateway" ? "the server is named by --host and --port, or a saved login" : undefined;

const REASONS_OF_COMPOSE = (path: string): string | undefined =>
  /^services\.[^.]+$/.test(path) ? 'is no function: it has no label "slipway.…"' : undefined;

function parsed(text: string): unknown {
  try {
    return Bun.YAML.parse(text);
  } catch {
    // The server says what is wrong with it.
    return undefined;
  }
}

/** `$$`, `$NAME`, `${NAME}`, and `${NAME:-default}` or `${NAME-default}`. */
const VARIABLE = /\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^}]*))?\})/g;

/** Returns a copy with variables filled in. Throws `invalid_request` for one that there is not. */
function expanded(value: unknown, variables: Readonly<Record<string, string | undefined>>): unknown {
  if (typeof value === "string") {
    return value.replaceAll(VARIABLE, (_, dollar?: string, bare?: string, braced?: string, otherwise?: string) => {
      if (dollar !== undefined) return "$";
      const name = bare ?? braced ?? "";
      const found = variables[name] ?? otherwise;
      if (found !== undefined) return found;
      throw new AppError("invalid_request", `The variable ${name} is not set: set it, or give \${${name}:-default}`);
    });
  }
  if (Array.isArray(value)) return value.map((one) => expanded(one, variables));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, expanded(one, variables)]));
}
