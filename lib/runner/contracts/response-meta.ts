import { isHeaderName, isHeaderValue, responseHeaderProblem } from "../../domain/calls/headers.ts";
import { decodeText, NotJson, parseJsonText } from "../../domain/json-text.ts";
import { RESPONSE_HEADERS } from "../../domain/limits.ts";

/** The content of a function's `response.meta.json`, checked. */
export interface ResponseMeta {
  /** 200 unless given. */
  readonly status: number;
  /** Names in lower case. A name appears again only if the function gave a list. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Lines for the function's log about the headers that are left out, each with the reason. */
  readonly dropped: readonly string[];
  /** The wish of the function about another attempt at an asynchronous invocation that failed, if it has one. */
  readonly retry?: boolean;
  readonly retry_after_ms?: number;
}

/** The meta of a function that wrote none. */
export const PLAIN_RESPONSE: ResponseMeta = { status: 200, headers: [], dropped: [] };

const FIELDS = ["status", "headers", "retry", "retry_after_ms"];

/**
 * Thrown for a wrong `response.meta.json`. The message ends a sentence that begins with the file's name. It never has a
 * part of the file but names that are known here: what a function answers may be a secret.
 */
class InvalidMeta extends Error {}

/** Reads `response.meta.json`, or returns the problem with it as the end of a sentence that begins with its name. */
export function parseResponseMeta(bytes: Uint8Array): ResponseMeta | { readonly problem: string } {
  try {
    return readMeta(parse(bytes));
  } catch (error) {
    if (error instanceof InvalidMeta) return { problem: error.message };
    throw error;
  }
}

function parse(bytes: Uint8Array): unknown {
  if (bytes.length === 0) throw new InvalidMeta("is empty");
  try {
    return parseJsonText(decodeText(bytes));
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw new InvalidMeta(`is not JSON: ${error.message}`);
  }
}

function readMeta(value: unknown): ResponseMeta {
  if (!isObject(value)) throw new InvalidMeta(`must be an object, and is ${kindOf(value)}`);
  const unknown = Object.keys(value).findIndex((name) => !FIELDS.includes(name));
  if (unknown !== -1) {
    const known = FIELDS.map((name) => `"${name}"`).join(", ");
    throw new InvalidMeta(`has an unknown field, number ${unknown + 1}: it may have ${known}`);
  }
  return {
    status: readStatus(value["status"]),
    ...readHeaders(value["headers"]),
    ...readRetry(value["retry"], value["retry_after_ms"]),
  };
}

function readRetry(retry: unknown, after: unknown): Pick<ResponseMeta, "retry" | "retry_after_ms"> {
  if (retry !== undefined && typeof retry !== "boolean")
    throw new InvalidMeta(`has a "retry" that is ${kindOf(retry)}: give true or false`);
  if (after !== undefined && !(typeof after === "number" && Number.isInteger(after) && after >= 0))
    throw new InvalidMeta(
      `has a "retry_after_ms" that is ${kindOf(after)}: give a whole number of milliseconds, from 0`,
    );
  return { ...(retry !== undefined && { retry }), ...(after !== undefined && { retry_after_ms: after }) };
}

/** Reads the status. Functions cannot answer with 1xx: another answer would have to follow. */
function readStatus(status: unknown): number {
  if (status === undefined) return PLAIN_RESPONSE.status;
  if (typeof status === "number" && Number.isInteger(status) && status >= 200 && status <= 599) return status;
  throw new InvalidMeta(`has a "status" that is ${kindOf(status)}: give a whole number from 200 to 599`);
}

function readHeaders(given: unknown): Pick<ResponseMeta, "headers" | "dropped"> {
  if (given === undefined) return { headers: [], dropped: [] };
  if (!isObject(given)) throw new InvalidMeta('has "headers" that are no object: give {"name": "value"}');
  const headers: [string, string][] = [];
  const dropped: string[] = [];
  const seen = new Set<string>();
  for (const [index, [written, value]] of Object.entries(given).entries()) {
    const which = `header ${index + 1}`;
    if (!isHeaderName(written)) throw new InvalidMeta(`has a malformed name for ${which}`);
    const name = written.toLowerCase();
    if (seen.has(name)) throw new InvalidMeta(`has the same name again for ${which}: give its values as a list`);
    seen.add(name);
    const values = readValues(name, which, value);
    const why = responseHeaderProblem(name);
    if (why === undefined) headers.push(...values.map((one): [string, string] => [name, one]));
    else dropped.push(`the header "${name}" of response.meta.json is left out: ${why}`);
    if (headers.length > RESPONSE_HEADERS) throw new InvalidMeta(`has more than ${RESPONSE_HEADERS} headers`);
  }
  return { headers, dropped };
}

/** Headers that an answer can have only once: two joined values would be invalid. */
const SINGLE: ReadonlySet<string> = new Set(["content-type", "location"]);

function readValues(name: string, which: string, value: unknown): string[] {
  const values: unknown[] = Array.isArray(value) ? value : [value];
  if (SINGLE.has(name) && values.length !== 1) throw new InvalidMeta(`must have one "${name}"`);
  return values.map((one) => {
    if (typeof one !== "string") {
      throw new InvalidMeta(`has ${kindOf(one)} as the value of ${which}: give a string, or a list of them`);
    }
    if (!isHeaderValue(one)) {
      throw new InvalidMeta(`has a character that no header can have in the value of ${which}: encode it`);
    }
    return one;
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
