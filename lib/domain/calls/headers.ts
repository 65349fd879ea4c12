/**
 * The rules for headers that pass between a caller and a function, in both directions. Headers about one connection
 * (RFC 9110, 7.6.1) and malformed ones never pass.
 */

/** Headers about one connection and not about the message: they end at this server. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

/** Headers of an answer that the server sets itself. */
const OWN: ReadonlySet<string> = new Set([
  "content-length",
  "x-request-id",
  "x-function-exit-code",
  "server-timing",
  "x-content-type-options",
]);

/** Headers that speak for the whole origin, which `/v1` shares, and not for one answer. */
const OF_THE_ORIGIN: ReadonlySet<string> = new Set([
  "alt-svc",
  "clear-site-data",
  "nel",
  "report-to",
  "service-worker-allowed",
  "strict-transport-security",
]);

/** Headers that can carry an API key. */
const CREDENTIALS: ReadonlySet<string> = new Set(["authorization", "x-api-key"]);

/** The pattern of a header's name: a token of RFC 9110, 5.6.2. */
export const HEADER_NAME = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
const headerName = new RegExp(HEADER_NAME);

/** Returns whether this can be a header's name. */
export function isHeaderName(name: string): boolean {
  return headerName.test(name);
}

/** Returns whether this can be a header's value: visible ASCII, spaces, tabs, and the bytes beyond ASCII as ISO 8859-1. */
export function isHeaderValue(value: string): boolean {
  return /^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(value);
}

/**
 * Returns the headers of a request for its function: in lower case, several values of one name joined as in `Headers`. Pass
 * `withoutCredentials` if the caller's API key was for this server.
 */
export function requestHeaders(headers: Headers, withoutCredentials: boolean): Record<string, string> {
  const ended = connectionOptions(headers.get("connection"));
  const passing = [...headers].filter(
    ([name, value]) =>
      !HOP_BY_HOP.has(name) &&
      !ended.has(name) &&
      !(withoutCredentials && CREDENTIALS.has(name)) &&
      isHeaderName(name) &&
      isHeaderValue(value),
  );
  // Not by assignment: "__proto__" is a valid name of a header.
  return Object.fromEntries(passing);
}

/** Returns why a header of a function's answer is left out, or nothing. The name is in lower case. */
export function responseHeaderProblem(name: string): string | undefined {
  if (HOP_BY_HOP.has(name)) return "it is about one connection only";
  if (OWN.has(name)) return "the server sets it";
  if (OF_THE_ORIGIN.has(name)) return "it would speak for all that this server answers";
  return undefined;
}

/** Returns the headers that a `Connection` header names, in lower case: they also end at this server. */
function connectionOptions(connection: string | null): ReadonlySet<string> {
  return new Set((connection ?? "").split(",").map((option) => option.trim().toLowerCase()));
}
