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
  "accept-ch",
  "accept-ch-lifetime",
  "alt-svc",
  "alternate-protocol",
  "clear-site-data",
  "critical-ch",
  "expect-ct",
  "idp-signin-status",
  "nel",
  "origin-agent-cluster",
  "public-key-pins",
  "public-key-pins-report-only",
  "report-to",
  "reporting-endpoints",
  "sec-session-challenge",
  "sec-session-registration",
  "secure-session-challenge",
  "secure-session-registration",
  "service-worker-allowed",
  "set-login",
  "shared-storage-write",
  "strict-transport-security",
  "use-as-dictionary",
]);

/**
 * Headers that a web server or proxy in front of this one obeys, to serve one of its own files or internal locations or
 * to change its own state, and then takes out of the answer.
 */
const FOR_PROXIES: ReadonlySet<string> = new Set([
  // Apache (mod_xsendfile), lighttpd, Cherokee, uWSGI, IIS.
  "x-sendfile",
  "x-sendfile2",
  "x-sendfile-temporary",
  "x-send-file",
]);
const FOR_PROXIES_BEGIN: readonly string[] = [
  // nginx: Redirect, Expires, Limit-Rate, Buffering, Charset.
  "x-accel-",
  // lighttpd: Send-File, Send-Tempfile.
  "x-lighttpd-",
  // LiteSpeed: Location, Purge, Tag, Vary, Cache-Control.
  "x-litespeed-",
  // Perlbal, H2O and nginx: URL, File, Cache-For.
  "x-reproxy-",
  // Envoy: Immediate-Health-Check-Fail takes this server out of its balancing.
  "x-envoy-",
];

/** The beginning of the name of the cookie of a login (`__Host-` may come before it). No function gets it, nor can set it. */
export const SESSION_COOKIE = "slipway-session";

/** Headers that can carry an API key. */
const CREDENTIALS: ReadonlySet<string> = new Set(["authorization", "x-api-key"]);

/**
 * The words in the names of headers with which a caller proves who it is: `Authorization`, `Cookie`, `X-Api-Key`,
 * `X-Auth-Token`, `X-Amz-Security-Token`, `Cf-Access-Jwt-Assertion`, `X-Session-Id` ... Signatures of a body are not among
 * them: they are of no use for another one.
 */
const CREDENTIAL_WORDS =
  /(?:^|[-_])(?:authorization|cookie|apikey|(?:api|auth|functions|subscription)[-_]key|(?:access|auth|id|refresh|session)?token|secret|password|passwd|jwt|session(?:id)?|credentials?|oidc|auth$)(?:$|[-_\d])/;

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
  const passed = Object.fromEntries(passing);
  const { cookie } = passed;
  if (cookie?.includes(SESSION_COOKIE) !== true) return passed;
  const { cookie: _, ...rest } = passed;
  const others = cookie.split(";").filter((one) => !isSessionCookie(one));
  return others.length === 0 ? rest : { ...rest, cookie: others.join(";").trim() };
}

/** Returns whether a cookie, as `Cookie` or `Set-Cookie` has it, is that of a login. */
export function isSessionCookie(cookie: string): boolean {
  const name = (cookie.split("=", 1)[0] ?? "").trim().toLowerCase();
  return name.replace("__host-", "").startsWith(SESSION_COOKIE);
}

/** Returns whether a header, named in lower case, has what a caller proves with who it is. */
export function isCredential(name: string): boolean {
  return CREDENTIAL_WORDS.test(name);
}

/** Returns headers without those that are credentials. */
export function storableHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  // Not by assignment: "__proto__" is a valid name of a header.
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isCredential(name)));
}

/**
 * Returns why a header of a function's answer is left out, or nothing. The name is in lower case. At a host of its own
 * (`ownOrigin`) a function may speak for the whole origin.
 */
export function responseHeaderProblem(name: string, ownOrigin = false): string | undefined {
  if (HOP_BY_HOP.has(name)) return "it is about one connection only";
  if (OWN.has(name) && !(ownOrigin && name === "x-content-type-options")) return "the server sets it";
  if (OF_THE_ORIGIN.has(name) && !ownOrigin) return "it would speak for all that this server answers";
  if (isForProxies(name)) return "a proxy in front of this server would act on it";
  return undefined;
}

/** With underscores it is the same header to some proxies, which map both to the name of one variable. */
function isForProxies(written: string): boolean {
  const name = written.replaceAll("_", "-");
  return FOR_PROXIES.has(name) || FOR_PROXIES_BEGIN.some((beginning) => name.startsWith(beginning));
}

/** Returns the headers that a `Connection` header names, in lower case: they also end at this server. */
function connectionOptions(connection: string | null): ReadonlySet<string> {
  return new Set((connection ?? "").split(",").map((option) => option.trim().toLowerCase()));
}
