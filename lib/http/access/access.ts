import type { Server } from "bun";
import { AppError } from "../../domain/errors.ts";
import { administrator, type Caller, checkScope, type Scope } from "../../domain/keys.ts";
import type { KeyService } from "../../services/access/keys.ts";
import type { KeyGuesses } from "./key-guesses.ts";

/** Who may use `/v1`, `/docs`, `/swagger` and `/metrics` (lib/docs/operations-and-security.md). */
export interface AccessPolicy {
  /** Tells whose a key is. */
  readonly keys: Pick<KeyService, "identify">;
  /** Slows down whoever sends wrong ones. */
  readonly guesses: Pick<KeyGuesses, "failed">;
  /** Whether a request without the key is refused. */
  readonly key_required: boolean;
  /** Whether the server listens on loopback only; then every caller is on this machine. */
  readonly loopback: boolean;
  /** Names beside the loopback ones that a request without a key may have in `Host`. */
  readonly allowed_hosts: readonly string[];
  /** Addresses of this machine's default gateways: where connections to a port published on loopback come from. */
  readonly gateways: () => readonly string[];
}

/** What an endpoint asks of whoever sends a request. */
export interface Needs {
  /** Scopes of which one is enough; `admin` always is. */
  readonly scopes: readonly Scope[];
  /** Whether a request without a key is refused wherever it comes from: only endpoints of `/v1` know other rules for it. */
  readonly key_always?: boolean;
}

/**
 * Tells who sends a request and lets it pass, or throws `unauthorized`, `too_many_requests`, `misdirected_request` or
 * `forbidden`.
 */
export type Access = (request: Request, server: Server<unknown> | null, needs: Needs) => Caller;

/** Whoever may do without a key may do everything. */
const ANYONE = administrator(null);

/** The check that every resource but `/r` and the health endpoints makes before it reads anything. */
export function createAccess(policy: AccessPolicy): Access {
  // Nearly all requests come to the same name; what it was found to be need not be found again.
  let passed: string | undefined;
  const withoutKey = (request: Request, server: Server<unknown> | null, needs: Needs): Caller => {
    if (policy.key_required || needs.key_always === true) {
      throw new AppError("unauthorized", 'An API key is needed: send it as "Authorization: Bearer <key>"');
    }
    if (!policy.loopback) checkCaller(addressOf(request, server), policy.gateways());
    const host = request.headers.get("host") ?? "";
    if (host !== passed) checkHost(host, policy.allowed_hosts);
    passed = host;
    checkSite(request);
    return ANYONE;
  };
  return (request, server, needs) => {
    const key = keyOf(request);
    const caller =
      key === undefined ? withoutKey(request, server, needs) : withKey(policy, key, () => addressOf(request, server));
    checkScope(caller, needs.scopes);
    return caller;
  };
}

/** A key that was sent must be right, also where none is needed: its sender believes in it. */
function withKey({ keys, guesses }: AccessPolicy, key: string, address: () => string): Caller {
  const verdict = keys.identify(key);
  if ("caller" in verdict) return verdict.caller;
  const wait = verdict.refused === "wrong" ? guesses.failed(address()) : undefined;
  if (wait === undefined) throw new AppError("unauthorized", verdict.message);
  throw new AppError(
    "too_many_requests",
    `Too many wrong API keys came from your address: try again in ${wait} s; a right key is taken at once`,
    { retry_after_s: wait },
  );
}

/** Whether an address, or the name of one, can only mean this machine. */
export function isLoopback(host: string): boolean {
  const name = host
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/^::ffff:/, "");
  return name === "localhost" || name.endsWith(".localhost") || name === "::1" || /^127(?:\.\d{1,3}){3}$/.test(name);
}

function keyOf(request: Request): string | undefined {
  const authorization = request.headers.get("authorization");
  if (authorization === null) return request.headers.get("x-api-key") ?? undefined;
  return /^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? "";
}

function addressOf(request: Request, server: Server<unknown> | null): string {
  return server?.requestIP(request)?.address ?? "";
}

/** On an open address, a function on the same bridge must not become an administrator by sending `Host: localhost`. */
function checkCaller(address: string, gateways: readonly string[]): void {
  const caller = address.replace(/^::ffff:/, "");
  if (isLoopback(caller) || gateways.includes(caller)) return;
  throw new AppError(
    "unauthorized",
    "With AUTH=off only this machine may do this: set API_KEY and send the key to do it from elsewhere",
  );
}

/** A page that rebinds its name to our address sends that name here. */
function checkHost(host: string, allowed: readonly string[]): void {
  const name = host.replace(/:\d+$/, "");
  if (
    isLoopback(name) ||
    allowed.some((entry) => entry.toLowerCase() === name.toLowerCase() || entry.toLowerCase() === host.toLowerCase())
  )
    return;
  const message =
    name === ""
      ? 'This server does not answer a request that has neither a Host nor an API key: send "Host: localhost"'
      : `This server does not answer to the name ${JSON.stringify(name.slice(0, 100))} without an API key: ` +
        "use localhost, or add the name to ALLOWED_HOSTS";
  throw new AppError("misdirected_request", message);
}

/** Another site's page can send requests with the visitor's own reach; a browser says where they come from. */
function checkSite(request: Request): void {
  const site = request.headers.get("sec-fetch-site");
  const origin = request.headers.get("origin");
  if (site === null && origin === null) return;
  const own =
    (site === null || site === "same-origin" || site === "none") &&
    (origin === null || URL.parse(origin)?.host === request.headers.get("host"));
  if (!own) throw new AppError("forbidden", "Requests from another site's page are refused: send an API key");
}
