import { isObject, type Json, type JsonObject } from "./schema.ts";

/** The paths of the two documents below `/swagger`. */
export const DOCUMENT_PATHS = { plain: "/json", full: "/full.json" } as const;
export type DocumentForm = keyof typeof DOCUMENT_PATHS;

const NOTES = {
  plain:
    "This document has the answers that a client gets without asking for another form. Some endpoints have other forms, too, " +
    "as they say: events with `Accept: text/event-stream`, an export as JSON, and errors as `ProblemDetails`. `/swagger/full.json` (`slipway " +
    "openapi --full`) has all of them.",
  full:
    "This document has every form of an answer. `/swagger/json` (`slipway openapi`) has those that a client gets without " +
    "asking for another one, so that clients made from it have one type for each answer.",
} as const satisfies Record<DocumentForm, string>;

/** The content types of answers that have several, that of the answer without an `Accept` first: an export is YAML then. */
const DEFAULTS = ["application/yaml", "application/json"];

/** Returns a document in a form: as it is, or with only the default one of answers that have several. */
export function inForm(document: JsonObject, form: DocumentForm): JsonObject {
  const noted = { ...document, info: withNote(objectOf(document, "info"), NOTES[form]) };
  if (form === "full") return noted;
  const components = objectOf(document, "components");
  return {
    ...noted,
    paths: mapValues(objectOf(document, "paths"), (path) => mapValues(path, (operation) => withPlain(operation))),
    components: withPlain(components),
  };
}

function withNote({ description, ...info }: JsonObject, note: string): JsonObject {
  return { ...info, description: typeof description === "string" ? `${description}\n\n${note}` : note };
}

/** Returns an operation, or the components of the document, with plain `responses`. */
function withPlain(part: JsonObject): JsonObject {
  const responses = mapValues(objectOf(part, "responses"), plainResponse);
  const successes = Object.entries(responses).filter(([status]) => status.startsWith("2"));
  const isDefault = ([, response]: [string, Json]) => typesOf(response).some((type) => DEFAULTS.includes(type));
  if (!successes.some(isDefault)) return { ...part, responses };
  // A success of another type, with a status of its own, is an alternative to the default one.
  const others = successes.filter((success) => typesOf(success[1]).length > 0 && !isDefault(success));
  const left = new Set(others.map(([status]) => status));
  return { ...part, responses: Object.fromEntries(Object.entries(responses).filter(([status]) => !left.has(status))) };
}

function plainResponse(response: JsonObject): JsonObject {
  const content = objectOf(response, "content");
  const type = DEFAULTS.find((one) => Object.hasOwn(content, one));
  return type === undefined ? response : { ...response, content: { [type]: content[type] ?? {} } };
}

function typesOf(response: Json): string[] {
  return isObject(response) ? Object.keys(objectOf(response, "content")) : [];
}

function mapValues(object: JsonObject, change: (value: JsonObject) => JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [key, isObject(value) ? change(value) : value]),
  );
}

function objectOf(object: JsonObject, key: string): JsonObject {
  const value = object[key];
  return isObject(value) ? value : {};
}
