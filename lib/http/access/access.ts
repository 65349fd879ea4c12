import type { Server } from "bun";
import { isLoopback } from "../../domain/addresses.ts";
import { AppError } from "../../domain/errors.ts";
import { administrator, type Caller, checkFunction, checkScope, type Scope } from "../../domain/keys.ts";
import { quoted } from "../../domain/quoted.ts";
import type { AuditService } from "../../services/access/audit.ts";
import type { Identification, KeyService } from "../../services/access/keys.ts";
import type { SessionService } from "../../services/access/sessions.ts";
import { looksLikeToken } from "../../services/access/tokens.ts";
import { pathOf } from "../wire/errors.ts";
import { STATUS_OF } from "../wire/status-of.ts";
import { type ClientAddress, type ClientUsesTls, peerAddress } from "./client-address.ts";
import type { KeyGuesses } from "./key-guesses.ts";
import { checkOwnPage } from "./own-page.ts";
import { sessionIn } from "./session-cookie.ts";

/** The rules for access to `/v1`, `/docs`, `/swagger` and `/metrics` (lib/docs/operations-and-security.md). */
export interface AccessPolicy {
  /** Finds the caller of a key. */
  readonly keys: Pick<KeyService, "identify">;
  /** Finds the caller of a session, which a browser has in a cookie. */
  readonly sessions: Pick<SessionService, "identify">;
  /** Tells cookies of an encrypted connection from others. */
  readonly clientUsesTls: ClientUsesTls;
  /** Slows down clients that send wrong keys. */
  readonly guesses: Pick<KeyGuesses, "failed">;
  /** Catches up with what other servers have changed, for a key that is not known here; null if no other server can. */
  readonly catchUp: (() => Promise<void>) | null;
  /** True if a request without a key is refused. */
  readonly key_required: boolean;
  /** True if the server listens on loopback only; then every caller is on this machine. */
  readonly loopback: boolean;
  /** Names besides the loopback ones that a request without a key may have in `Host`. */
  readonly allowed_hosts: readonly string[];
  /** Records requests whose key is refused. */
  readonly audit: Pick<AuditService, "refused">;
  /** Finds the client of a request, which may have come through proxies. */
  readonly clientAddress: ClientAddress;
  /** Trusted addresses of default gateways: connections to a container's port that is published on loopback come from there. */
  readonly gateways: () => readonly string[];
}

/** The way in which clients of another platform's API send a key of this server. */
export interface Credentials {
  /** Returns the key of a request; undefined if it has none. */
  readonly keyIn: (request: Request) => string | undefined;
  /**
   * True if these clients send nothing without credentials: what is no key of ours, nor looks like one, counts as none where none is
   * needed. Such a request is then checked like any other without a key.
   */
  readonly always_sent: boolean;
  /**
   * True if a GET has effects, as at the call of a function: a session does not count then, as a browser also sends its cookie when
   * another page's link is followed; nor does a browser get in without a key unless it says whose page asks.
   */
  readonly no_session?: boolean;
}

/** The requirements of an endpoint on its callers. */
export interface Needs {
  /** Scopes of which one is enough; `admin` always is. */
  readonly scopes: readonly Scope[];
  /** Refuses a request without a key, wherever it comes from. The exceptions for callers on this machine are for `/v1`. */
  readonly key_always?: boolean;
  /** Refuses a key that is for another function. */
  readonly function_id?: string;
  /** Finds the key of a request in another place than `Authorization: Bearer` and `X-Api-Key`. */
  readonly credentials?: Credentials;
}

/**
 * Returns a request's caller, or throws `unauthorized`, `too_many_requests`, `misdirected_request` or `forbidden`. A promise is only
 * returned for a key that is not known here and may be on another server.
 */
export type AccessCheck = (request: Request, server: Server<unknown> | null, needs: Needs) => Caller | Promise<Caller>;

/** Returns the caller of a key; throws `unauthorized` or `too_many_requests`, and counts and records the key if it is wrong. */
export type KeyCheck = (request: Request, server: Server<unknown> | null, key: string) => Caller | Promise<Caller>;

/** A caller that needs no key is an administrator. */
const KEYLESS = administrator(null);

/** Creates the check that comes before every resource except `/r` and the health endpoints. */
export function createAccessCheck(policy: AccessPolicy): AccessCheck {
  // Nearly all requests have the same Host, so the last one that passed is not checked again.
  let passed: string | undefined;
  const withoutKey = (request: Request, server: Server<unknown> | null, needs: Needs): Caller => {
    if (policy.key_required || needs.key_always === true) {
      throw new AppError("unauthorized", 'An API key is needed: send it as "Authorization: Bearer <key>"');
    }
    if (!policy.loopback) checkAddress(peerAddress(request, server) ?? "", policy.gateways());
    checkForwarded(request.headers);
    const host = request.headers.get("host") ?? "";
    if (host !== passed) checkHost(host, policy.allowed_hosts);
    passed = host;
    checkSite(request);
    if (needs.credentials?.no_session === true) checkBrowser(request, host);
    return KEYLESS;
  };
  /** Checks a request. With `again`, an unknown sender is not refused yet: what that returns decides. */
  const check = (
    request: Request,
    server: Server<unknown> | null,
    needs: Needs,
    again?: () => Promise<Caller>,
  ): Caller | Promise<Caller> => {
    const sent = sentBy(request, server, needs, policy);
    let refusal: AppError | undefined;
    if (sent === undefined || sent.is_dispensable) {
      try {
        const caller = withoutKey(request, server, needs);
        checkScope(caller, needs.scopes);
        return caller;
      } catch (error) {
        if (again !== undefined && sent === undefined && hasSession(request, server, policy)) return again();
        if (sent === undefined || !(error instanceof AppError)) throw error;
        // Then it was a guess at a key.
        refusal = error;
      }
    }
    if (again !== undefined && isUnknown(sent.identified)) return again();
    const checkRights = (caller: Caller): void => {
      checkScope(caller, needs.scopes);
      if (needs.function_id !== undefined) checkFunction(caller, needs.function_id);
    };
    return recordingRefusal(policy, request, server, { identified: sent.identified, refusal }, checkRights);
  };
  return caughtUp(policy, check);
}

/** Creates the check of a key that somebody logs in with: the same as for one that comes with a request. */
export function createKeyCheck(policy: AccessPolicy): KeyCheck {
  const check = (
    request: Request,
    server: Server<unknown> | null,
    key: string,
    again?: () => Promise<Caller>,
  ): Caller | Promise<Caller> => {
    const identified = policy.keys.identify(key);
    if (again !== undefined && isUnknown(identified)) return again();
    return recordingRefusal(policy, request, server, { identified }, () => undefined);
  };
  return caughtUp(policy, check);
}

type CheckOf<Asked> = (
  request: Request,
  server: Server<unknown> | null,
  asked: Asked,
  again?: () => Promise<Caller>,
) => Caller | Promise<Caller>;

/** Makes a check that is done again, for a sender that is unknown, once this server has caught up with the others. */
function caughtUp<Asked>({ catchUp }: AccessPolicy, check: CheckOf<Asked>): CheckOf<Asked> {
  if (catchUp === null) return (request, server, asked) => check(request, server, asked);
  return (request, server, asked) =>
    check(request, server, asked, async () => {
      await catchUp();
      return check(request, server, asked);
    });
}

/** Returns whether a key may be one that another server has just made. */
function isUnknown(identified: Identification): boolean {
  return "refused" in identified && identified.refused !== "dead";
}

/** Returns whether a request has a session, valid or not. */
function hasSession(request: Request, server: Server<unknown> | null, { clientUsesTls }: AccessPolicy): boolean {
  return request.headers.has("cookie") && sessionIn(request, clientUsesTls(request, server)) !== undefined;
}

/** The key or the session of a request. */
interface Sent {
  readonly identified: Identification;
  /** True if it is as good as none where a request without a key is let in. */
  readonly is_dispensable: boolean;
}

/** Returns who sent a request, or why its key is refused; undefined if it has none. */
function sentBy(
  request: Request,
  server: Server<unknown> | null,
  needs: Needs,
  policy: AccessPolicy,
): Sent | undefined {
  const { credentials, key_always } = needs;
  const key = credentials === undefined ? keyOf(request) : credentials.keyIn(request);
  if (key === undefined) {
    const identified = sessionCaller(request, server, needs, policy);
    return identified && { identified, is_dispensable: false };
  }
  const identified = policy.keys.identify(key);
  const isNeeded = policy.key_required || key_always === true || looksLikeToken(key);
  const isOurs = "caller" in identified || identified.refused === "dead";
  return { identified, is_dispensable: credentials?.always_sent === true && !isNeeded && !isOurs };
}

/**
 * Returns the caller whose session a browser sent; undefined without a valid one. It opens the API and the pages, and no
 * function's route: what a page there does must not be done with the rights of its visitor. Throws `forbidden` for a request
 * that none of our own pages has made.
 */
function sessionCaller(
  request: Request,
  server: Server<unknown> | null,
  needs: Needs,
  { sessions, clientUsesTls }: AccessPolicy,
): Identification | undefined {
  const isTaken = needs.key_always !== true && needs.credentials?.no_session !== true;
  if (!isTaken || !request.headers.has("cookie")) return undefined;
  const session = sessionIn(request, clientUsesTls(request, server));
  const caller = session === undefined ? undefined : sessions.identify(session);
  if (caller === undefined) return undefined;
  checkOwnPage(request);
  return { caller };
}

/** Returns the caller that was identified, if `check` lets it in; records it if not. A wrong key throws `refusal`, if there is one. */
function recordingRefusal(
  policy: AccessPolicy,
  request: Request,
  server: Server<unknown> | null,
  { identified, refusal }: { readonly identified: Identification; readonly refusal?: AppError | undefined },
  check: (caller: Caller) => void,
): Caller {
  try {
    const caller = callerOf({ identified, refusal }, policy, () => policy.clientAddress(request, server) ?? "");
    check(caller);
    return caller;
  } catch (error) {
    if (error instanceof AppError) {
      const key_id =
        "caller" in identified ? identified.caller.key_id : "key_id" in identified ? identified.key_id : null;
      const { method, url } = request;
      const address = policy.clientAddress(request, server);
      policy.audit.refused({ key_id, address, method, path: pathOf(url), status: STATUS_OF[error.reason] });
    }
    throw error;
  }
}

/** Returns the caller of a key. A wrong key is refused even if none is required: the sender expects it to be checked. */
function callerOf(
  { identified, refusal }: { readonly identified: Identification; readonly refusal: AppError | undefined },
  { guesses }: AccessPolicy,
  address: () => string,
): Caller {
  if ("caller" in identified) return identified.caller;
  const wait = identified.refused === "wrong" ? guesses.failed(address()) : undefined;
  if (wait === undefined) throw refusal ?? new AppError("unauthorized", identified.message);
  throw new AppError(
    "too_many_requests",
    `Too many wrong API keys came from your address: try again in ${wait} s; a right key is accepted at once`,
    { retry_after_s: wait },
  );
}

/** Returns the key that a request has as a bearer token or in `X-Api-Key`; empty if it has other credentials. */
export function keyOf(request: Request): string | undefined {
  const authorization = request.headers.get("authorization");
  if (authorization === null) return request.headers.get("x-api-key") ?? undefined;
  return /^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? "";
}

/** On an open address, a function on the same bridge must not become an administrator by sending `Host: localhost`. */
function checkAddress(address: string, gateways: readonly string[]): void {
  if (isLoopback(address) || gateways.includes(address)) return;
  throw new AppError(
    "unauthorized",
    "With AUTH=off only this machine may do this: set API_KEY and send the key to do it from elsewhere. If the server runs in a " +
      "container whose port is published on 127.0.0.1 only, TRUST_GATEWAY=on lets this machine in",
  );
}

/** Headers by which proxies say for whom they speak, in lower case. */
const FORWARDED =
  /^(?:forwarded$|via$|x-forwarded|x-real-ip|x-original-|x-client-ip|x-cluster-client-ip|client-ip|true-client-ip|cf-|cdn-loop|x-envoy-)/;

/** Refuses what a proxy on this machine passes on: its address says nothing about the one who asks. */
function checkForwarded(headers: Headers): void {
  for (const name of headers.keys()) {
    if (!FORWARDED.test(name)) continue;
    throw new AppError(
      "forbidden",
      `This request came through a proxy (it has the header ${quoted(name)}), so it needs an API key: set AUTH=on and send ` +
        "the key, or point the proxy at PUBLIC_PORT, which has the routes of functions only",
    );
  }
}

/** Refuses a page that has rebound its own name to our address: the browser sends that name here. */
function checkHost(host: string, allowed: readonly string[]): void {
  const name = host.replace(/:\d+$/, "");
  if (
    isLoopback(name) ||
    allowed.some((entry) => entry.toLowerCase() === name.toLowerCase() || entry.toLowerCase() === host.toLowerCase())
  )
    return;
  const message =
    name === ""
      ? 'A request without an API key needs a Host: send "Host: localhost"'
      : `This server does not answer to the name ${quoted(name)} without an API key: ` +
        "use localhost, or add the name to ALLOWED_HOSTS";
  throw new AppError("misdirected_request", message);
}

/**
 * Refuses what a browser asks for without saying whose page wants it: it says so of every request but a GET or HEAD to a host that is
 * neither encrypted nor on this machine.
 */
function checkBrowser({ method, headers }: Request, host: string): void {
  const isRead = method === "GET" || method === "HEAD";
  const isTold = headers.has("sec-fetch-site") || headers.has("origin");
  const isBrowser = headers.get("user-agent")?.startsWith("Mozilla/") === true;
  if (!isRead || isTold || !isBrowser || isLoopback(host.replace(/:\d+$/, ""))) return;
  throw new AppError(
    "forbidden",
    "A browser does not say whose page asks for this, and it would call a function: send an API key, or use localhost",
  );
}

/** Refuses another site's page, which could send requests from its visitor's machine; the browser says whose page it is. */
export function checkSite(request: Request): void {
  const site = request.headers.get("sec-fetch-site");
  const origin = request.headers.get("origin");
  if (site === null && origin === null) return;
  const own =
    (site === null || site === "same-origin" || site === "none") &&
    (origin === null || URL.parse(origin)?.host === request.headers.get("host"));
  if (!own) throw new AppError("forbidden", "Requests from another site's page are refused: send an API key");
}
