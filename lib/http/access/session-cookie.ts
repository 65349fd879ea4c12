import { SESSION_COOKIE } from "../../domain/calls/headers.ts";

/**
 * Returns the name of the cookie of a login. With TLS the prefix makes the browser refuse one that a neighbour's subdomain or an
 * unencrypted connection has set. Without, the port tells the servers of one machine apart: cookies are not.
 */
function cookieName({ headers }: Request, usesTls: boolean): string {
  if (usesTls) return `__Host-${SESSION_COOKIE}`;
  const port = /:(\d+)$/.exec(headers.get("host") ?? "")?.[1] ?? "80";
  return `${SESSION_COOKIE}-${port}`;
}

/** Returns the session that a request brings; undefined if it has none. */
export function sessionIn(request: Request, usesTls: boolean): string | undefined {
  const beginning = `${cookieName(request, usesTls)}=`;
  const cookies = (request.headers.get("cookie") ?? "").split(";").map((cookie) => cookie.trim());
  const found = cookies.find((cookie) => cookie.startsWith(beginning));
  return found?.slice(beginning.length);
}

/** Returns the `Set-Cookie` that keeps a session in the browser for so many seconds; none removes it. */
export function sessionCookie(request: Request, usesTls: boolean, session: string, seconds: number): string {
  const attributes = `Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${usesTls ? "; Secure" : ""}`;
  return `${cookieName(request, usesTls)}=${session}; ${attributes}`;
}
