/**
 * Which headers pass between a caller and a function. Pure rules, for both ways: what is about one connection
 * (RFC 9110, 7.6.1) or not well formed never passes.
 */

/** About one connection and not about the message: each of these ends at this server. */
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

/** What the server says of an answer by itself. */
const OWN: ReadonlySet<string> = new Set([
  "content-length",
  "x-request-id",
  "x-function-exit-code",
  "server-timing",
  "x-content-type-options",
]);

/** Speak for the whole origin, which is also that of `/v1`, and not for one answer. */
const OF_THE_ORIGIN: ReadonlySet<string> = new Set([
  "alt-svc",
  "clear-site-data",
  "nel",
  "report-to",
  "service-worker-allowed",
  "strict-transport-security",
]);

/** By which a caller shows an API key. */
const CREDENTIALS: ReadonlySet<string> = new Set(["authorization", "x-api-key"]);

/** The pattern of a header's name: a token of RFC 9110, 5.6.2. */
export const HEADER_NAME = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
const headerName = new RegExp(HEADER_NAME);

/** Whether this can be a header's name. */
export function isHeaderName(name: string): boolean {
  return headerName.test(name);
}

/** Whether this can be a header's value: visible ASCII, spaces and tabs, and the bytes beyond it as ISO 8859-1 names them. */
export function isHeaderValue(value: string): boolean {
  return /^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(value);
}

/**
 * The headers of a request that its function is told: in lower case, several values of one name joined as `Headers` does.
 * `withoutCredentials` where the caller's API key was for this server.
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
  // Not by assignment: "__proto__" is a good name for a header.
  return Object.fromEntries(passing);
}

/** Why a header that a function wants to answer with is left out, or nothing. The name is in lower case. */
export function responseHeaderProblem(name: string): string | undefined {
  if (HOP_BY_HOP.has(name)) return "it is about one connection only";
  if (OWN.has(name)) return "the server sets it";
  if (OF_THE_ORIGIN.has(name)) return "it would speak for all that this server answers";
  return undefined;
}

/** The headers that a `Connection` header names, in lower case: they end where it does. */
function connectionOptions(connection: string | null): ReadonlySet<string> {
  return new Set((connection ?? "").split(",").map((option) => option.trim().toLowerCase()));
}
