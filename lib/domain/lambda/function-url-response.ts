import { isUtf8 } from "node:buffer";
import { isHeaderName, isHeaderValue, responseHeaderProblem } from "../calls/headers.ts";
import { ANY_BYTES_TYPE, JSON_TYPE, type ResponseHeader, WITHOUT_BODY } from "../calls/http-message.ts";
import { RESPONSE_HEADERS } from "../limits.ts";

/** The head of an answer, as a function describes it to a function URL. */
export interface FunctionUrlHead {
  readonly status: number;
  /** Names in lower case; `content-type` is among them. */
  readonly headers: readonly ResponseHeader[];
  /** Lines for the function's log about what is left out, each with the reason. */
  readonly dropped: readonly string[];
}

/** An answer as a function URL of AWS Lambda reads it. */
export interface FunctionUrlResponse extends FunctionUrlHead {
  readonly body: Uint8Array;
}

/** The problem with an answer, as the end of a sentence that begins with `The function's answer`. It has no part of the answer. */
export interface Malformed {
  readonly problem: string;
}

/** Thrown for a malformed head; the message is its problem. */
class MalformedHead extends Error {}

const OK = 200;
const STATUSES = { least: 200, most: 599 };

/**
 * Reads what a function has returned for an event of payload format 2.0. A JSON object with `statusCode` describes the answer;
 * anything else is the body of a 200, as JSON if it is JSON. Pass `ownOrigin` for a function at a host of its own, whose headers
 * may speak for the whole origin.
 */
export function functionUrlResponse(returned: Uint8Array, ownOrigin = false): FunctionUrlResponse | Malformed {
  const value = parsed(Buffer.from(returned.buffer, returned.byteOffset, returned.length).toString());
  if (!isObject(value) || !Object.hasOwn(value, "statusCode")) {
    return { status: OK, headers: [["content-type", typeOf(returned, value)]], dropped: [], body: returned };
  }
  return orProblem(() => ({ ...readHead(value, ownOrigin), body: readBody(value) }));
}

/** Reads the head of a streamed answer, which has `statusCode`, `headers` and `cookies`; each may be absent. */
export function functionUrlHead(json: string, ownOrigin = false): FunctionUrlHead | Malformed {
  const description = parsed(json);
  if (!isObject(description)) return { problem: "begins with a head that is not a JSON object" };
  return orProblem(() => readHead(description, ownOrigin));
}

type Description = Readonly<Record<string, unknown>>;

/** AWS refuses what is not JSON, which only a runtime of one's own returns. */
function typeOf(returned: Uint8Array, value: unknown): string {
  if (value !== undefined) return JSON_TYPE;
  return isUtf8(returned) ? "text/plain; charset=utf-8" : ANY_BYTES_TYPE;
}

/** Returns the value of a JSON text; undefined, which JSON does not have, for any other text. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Description {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function orProblem<Read>(read: () => Read): Read | Malformed {
  try {
    return read();
  } catch (error) {
    if (error instanceof MalformedHead) return { problem: error.message };
    throw error;
  }
}

function readHead(description: Description, ownOrigin: boolean): FunctionUrlHead {
  const status = readStatus(description["statusCode"]);
  const given = [...readHeaders(description["headers"]), ...readCookies(description["cookies"])];
  if (given.length > RESPONSE_HEADERS) throw new MalformedHead(`has more than ${RESPONSE_HEADERS} headers`);
  const typed = WITHOUT_BODY.has(status) || given.some(([name]) => name === "content-type");
  const dropped = given.flatMap(([name]) => {
    const why = responseHeaderProblem(name, ownOrigin);
    // Frameworks write the length, and it is that of the body.
    return why === undefined || name === "content-length" ? [] : [`the header "${name}" is left out: ${why}`];
  });
  if (isObject(description["multiValueHeaders"])) {
    dropped.push(
      '"multiValueHeaders" is not read, as function URLs do not: use "headers", and "cookies" for Set-Cookie',
    );
  }
  return {
    status,
    headers: [
      ...given.filter(([name]) => responseHeaderProblem(name, ownOrigin) === undefined),
      ...(typed ? [] : [["content-type", JSON_TYPE] as const]),
    ],
    dropped,
  };
}

/** A number as text is a status, too: AWS takes it. */
function readStatus(value: unknown): number {
  if (value === undefined || value === null) return OK;
  const status = typeof value === "string" && /^\d{3}$/.test(value) ? Number(value) : value;
  if (typeof status === "number" && Number.isInteger(status) && status >= STATUSES.least && status <= STATUSES.most) {
    return status;
  }
  throw new MalformedHead(`has a "statusCode" that is not a whole number from ${STATUSES.least} to ${STATUSES.most}`);
}

function readHeaders(value: unknown): ResponseHeader[] {
  if (value === undefined || value === null) return [];
  if (!isObject(value)) throw new MalformedHead('has "headers" that are not an object of names and values');
  return Object.entries(value).flatMap(([name, given], index): ResponseHeader[] => {
    const which = `header ${index + 1} of "headers"`;
    if (!isHeaderName(name)) throw new MalformedHead(`has a malformed name in ${which}`);
    // Some frameworks send null for a field that is not set.
    if (given === null || given === undefined) return [];
    if (typeof given !== "string" && typeof given !== "number" && typeof given !== "boolean") {
      throw new MalformedHead(`has a value in ${which} that is not a string`);
    }
    return [[name.toLowerCase(), headerValue(String(given), which)]];
  });
}

function readCookies(value: unknown): ResponseHeader[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new MalformedHead('has "cookies" that are not an array of strings');
  return value.map((cookie: unknown, index) => {
    const which = `cookie ${index + 1} of "cookies"`;
    if (typeof cookie !== "string") throw new MalformedHead(`has a value in ${which} that is not a string`);
    return ["set-cookie", headerValue(cookie, which)];
  });
}

function headerValue(value: string, which: string): string {
  const trimmed = value.replace(/^[\t ]+|[\t ]+$/g, "");
  if (!isHeaderValue(trimmed))
    throw new MalformedHead(`has a character in ${which} that no header can have: encode it`);
  return trimmed;
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Returns the body. AWS serializes one that is no string, which is what its author means. */
function readBody({ body, isBase64Encoded }: Description): Uint8Array {
  if (body === undefined || body === null) return new Uint8Array();
  const text = typeof body === "string" ? body : JSON.stringify(body);
  if (isBase64Encoded !== true) return Buffer.from(text);
  if (typeof body !== "string" || !BASE64.test(text)) {
    throw new MalformedHead('has "isBase64Encoded", and a "body" that is not base64');
  }
  return Buffer.from(text, "base64");
}
