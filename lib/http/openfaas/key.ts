import { checkSite, type Credentials, keyOf } from "../access/access.ts";

/** The way in which OpenFaaS's clients send a key. Without a login they send none. */
export const OPENFAAS_CREDENTIALS: Credentials = { keyIn: keyOfClient, always_sent: false };

/** The same for calls of functions, which may be made with any method. */
export const CALL_CREDENTIALS: Credentials = { ...OPENFAAS_CREDENTIALS, no_session: true };

/**
 * Reads the key of a request of an OpenFaaS client. `faas-cli login` sends it as the password of any user (RFC 7617); without a
 * login the same program sends `Bearer` with nothing behind it. Throws `forbidden` for a password that comes from another site's
 * page: browsers send stored ones by themselves.
 */
function keyOfClient(request: Request): string | undefined {
  const authorization = request.headers.get("authorization") ?? "";
  if (/^Bearer *$/i.test(authorization)) return undefined;
  const credentials = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization)?.[1];
  if (credentials === undefined) return keyOf(request);
  checkSite(request);
  const text = Buffer.from(credentials, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon === -1 ? "" : text.slice(colon + 1);
}
