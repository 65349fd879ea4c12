import type { Server } from "bun";
import { AppError } from "../domain/errors.ts";
import { hashKey } from "../services/api-key.ts";

/** Who may use `/v1`, `/swagger` and `/metrics` (DESIGN.md section 7). */
export interface AccessPolicy {
  /** SHA-256 of the API key in hex, where there is one. */
  readonly key_hash: string | undefined;
  /** Whether a request without the key is refused. */
  readonly key_required: boolean;
  /** Whether the server listens on loopback only; then every caller is on this machine. */
  readonly loopback: boolean;
  /** Names beside the loopback ones that a request without a key may have in `Host`. */
  readonly allowed_hosts: readonly string[];
  /** Addresses of this machine's default gateways: where connections to a port published on loopback come from. */
  readonly gateways: () => readonly string[];
}

/** Lets a request pass or throws `unauthorized`, `misdirected_request` or `forbidden`. */
export type Access = (request: Request, server: Server<unknown> | null) => void;

/** The check that every resource but `/r` and the health endpoints makes before it reads anything. */
export function createAccess(policy: AccessPolicy): Access {
  // Nearly all requests come to the same name; what it was found to be need not be found again.
  let passed: string | undefined;
  return (request, server) => {
    const key = keyOf(request);
    if (key !== undefined) {
      // A key that was sent must be right, also where none is needed: its sender believes in it.
      if (policy.key_hash === undefined) throw new AppError("unauthorized", "This server has no API key: send none");
      if (sameHash(hashKey(key), policy.key_hash)) return;
      throw new AppError(
        "unauthorized",
        "The API key is wrong: send the one that the server was given, or printed at its first start",
      );
    }
    if (policy.key_required) {
      throw new AppError("unauthorized", 'An API key is needed: send it as "Authorization: Bearer <key>"');
    }
    if (!policy.loopback) checkCaller(server?.requestIP(request)?.address, policy.gateways());
    const host = request.headers.get("host") ?? "";
    if (host !== passed) checkHost(host, policy.allowed_hosts);
    passed = host;
    checkSite(request);
  };
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

function sameHash(a: string, b: string): boolean {
  return a.length === b.length && crypto.timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

/** On an open address, a function on the same bridge must not become an administrator by sending `Host: localhost`. */
function checkCaller(address: string | undefined, gateways: readonly string[]): void {
  const caller = address?.replace(/^::ffff:/, "") ?? "";
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
  const what = name === "" ? "a request without a Host" : `the name ${JSON.stringify(name.slice(0, 100))}`;
  throw new AppError(
    "misdirected_request",
    `This server does not answer to ${what} without an API key: use localhost, or add the name to ALLOWED_HOSTS`,
  );
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
