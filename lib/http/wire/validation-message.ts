import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { distance } from "fastest-levenshtein";
import { AppError } from "../../domain/errors.ts";
import { expectation } from "../../domain/schema-words.ts";

/** The parts that are needed of the validator in Elysia's error. */
interface Validator {
  Errors(value: unknown): Iterable<ValueError>;
  readonly schema?: TSchema;
}

/** The most problems that are searched for the most helpful one. */
const PROBLEMS = 50;

/** The most characters of a name that are compared with those we know: the time grows with the square of it. */
const COMPARED = 64;
const TOO_MANY: ReadonlySet<ValueErrorType> = new Set([
  ValueErrorType.ArrayMaxItems,
  ValueErrorType.ObjectMaxProperties,
  ValueErrorType.StringMaxLength,
]);

const NOUNS: Readonly<Record<string, string>> = { body: "body", query: "query parameter", params: "path parameter" };

/**
 * Returns the check of a body, which returns it or throws `invalid_request`. It comes before Elysia's own, whose error
 * collects every problem and writes the whole body into its message: that takes seconds for a body made for it. The schema
 * is compiled at the first body, since a start has no time for that.
 */
export function bodyCheck(schema: unknown): (body: unknown) => unknown {
  let compiled: TypeCheck<TSchema> | undefined;
  return (body) => {
    // The schema of an endpoint is one of TypeBox.
    compiled ??= TypeCompiler.Compile(schema as TSchema);
    if (compiled.Check(body)) return body;
    throw new AppError(
      "invalid_request",
      validationMessage("body", { schema, Errors: (wrong: unknown) => compiled?.Errors(wrong) ?? [] }, body),
    );
  };
}

/**
 * Says in one sentence what is wrong with a body, a query or path parameters, and how to fix it. A value that contains one
 * of `hidden` is not shown.
 */
export function validationMessage(
  where: string,
  validator: unknown,
  value: unknown,
  hidden: readonly string[] = [],
): string {
  const noun = NOUNS[where] ?? where;
  if (!isValidator(validator)) return `Invalid ${noun}`;
  const problems = firstProblems(validator.Errors(value));
  // A misspelt field is also a missing one, and the misspelling is the better hint.
  const found = problems.find(({ type }) => type === ValueErrorType.ObjectAdditionalProperties) ?? problems[0];
  if (found === undefined) return `Invalid ${noun}`;
  const problem = innermost(found);
  // Its end has the field's name, which may be as long as the body.
  const path = cut(problem.path.slice(1)).replaceAll("~1", "/").replaceAll("~0", "~");
  if (path === "" && problem.value === undefined) return `The request has no ${noun}: send a JSON object`;
  if (path === "" && holdsSecret(problem.schema)) return `The ${noun} must be a JSON object`;
  if (path === "") return `The ${noun} must be a JSON object, but it is ${kindOf(problem.value)}`;
  const shown = JSON.stringify(path.length > 64 ? `${path.slice(0, 64)}...` : path);
  if (problem.type === ValueErrorType.ObjectAdditionalProperties)
    return unknownField(noun, path, shown, problem.schema);
  if (problem.value === undefined) return `Missing ${shown}: it must be ${expectation(problem.schema)}`;
  const isHidden = hidden.some((part) => part !== "" && String(problem.value).includes(part));
  if (isHidden || holdsSecret(problem.schema) || PRIVATE_FIELD.test(path)) {
    return `Invalid ${shown}: it must be ${expectation(problem.schema)}`;
  }
  return `Invalid ${shown}: it must be ${expectation(problem.schema)}, but it ${fault(problem)}`;
}

/** The paths of values that may be secrets, though they are not always. */
const PRIVATE_FIELD = /(?:^|\/)(?:environment|variables)(?:\/|$)/;

/** Returns the first problems, and none after one that says that there is too much: looking on would take as long as that is. */
function firstProblems(errors: Iterable<ValueError>): ValueError[] {
  const problems: ValueError[] = [];
  for (const problem of errors) {
    problems.push(problem);
    if (problems.length === PROBLEMS || TOO_MANY.has(problem.type)) break;
  }
  return problems;
}

/** Returns whether a value of this schema must not be shown: a message may end up in a log. */
function holdsSecret(schema: TSchema): boolean {
  const properties: unknown = schema["properties"];
  const fields: readonly TSchema[] =
    properties !== null && typeof properties === "object" ? Object.values(properties) : [];
  return schema["writeOnly"] === true || fields.some(holdsSecret);
}

function isValidator(validator: unknown): validator is Validator {
  return (
    validator !== null &&
    typeof validator === "object" &&
    "Errors" in validator &&
    typeof validator.Errors === "function"
  );
}

/** Returns the problem with the choice that matched best, in an `anyOf`; the `anyOf` itself if none matched at all. */
function innermost(problem: ValueError): ValueError {
  const inner = problem.errors
    .map((choice) => choice.First())
    .find((first) => first !== undefined && first.path.length > problem.path.length);
  return inner === undefined ? problem : innermost(inner);
}

function unknownField(noun: string, path: string, shown: string, schema: TSchema): string {
  const properties: unknown = schema["properties"];
  const known = properties !== null && typeof properties === "object" ? Object.keys(properties) : [];
  // In a nested field, the last word is the misspelt one.
  const last = path.slice(path.lastIndexOf("/") + 1).slice(0, COMPARED);
  const nearest =
    known.find((name) => isPart(last, name)) ?? known.toSorted((a, b) => distance(a, last) - distance(b, last))[0];
  const what = noun === "body" ? `field ${shown}` : `${noun} ${shown}`;
  if (nearest === undefined) return `Unknown ${what}: none is allowed here`;
  // With more than a third of the letters wrong it is not a typo, and the whole list helps more.
  const close =
    isPart(last, nearest) || distance(nearest, last) <= Math.max(1, Math.min(nearest.length, last.length) / 2.5);
  return close ? `Unknown ${what}: did you mean "${nearest}"?` : `Unknown ${what}: expected ${listed(known)}`;
}

/** Returns names in quotes, with an "or" before the last. */
function listed(names: readonly string[]): string {
  const quoted = names.map((name) => `"${name}"`);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}

/** Returns what a value is, or has too much of, that violates its schema. */
function fault({ schema, value }: ValueError): string {
  const choices: readonly TSchema[] = Array.isArray(schema["anyOf"]) ? schema["anyOf"] : [schema];
  if (Array.isArray(value) && choices.some(({ type }) => type === "array")) {
    const repeated = choices.some(({ uniqueItems }) => uniqueItems === true) ? repeatedIn(value) : undefined;
    if (repeated !== undefined) return `has ${kindOf(repeated)} twice`;
    return value.length === 1 ? "has 1 item" : `has ${value.length} items`;
  }
  const isMap = value !== null && typeof value === "object" && choices.some(({ maxProperties }) => maxProperties);
  return isMap && !Array.isArray(value) ? `has ${Object.keys(value).length} entries` : `is ${kindOf(value)}`;
}

/** Returns a path with at most some hundred characters: messages show 64. */
function cut(path: string): string {
  return path.slice(0, 4 * COMPARED);
}

function repeatedIn(items: readonly unknown[]): unknown {
  const seen = new Set<unknown>();
  return items.find((item) => seen.size === seen.add(item).size);
}

/** Returns whether one is a prefix of the other, such as "timeout" and "timeout_ms". */
function isPart(given: string, known: string): boolean {
  return given.length >= 3 && (known.startsWith(given) || given.startsWith(known));
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  // JSON cannot write a number such as 1e999.
  const text = typeof value === "string" ? value.slice(0, 4 * COMPARED) : value;
  const shown = (typeof text === "number" ? String(text) : JSON.stringify(text)) ?? "missing";
  return shown.length > 64 ? `${shown.slice(0, 64)}...` : shown;
}
