import type { KeptRequest } from "../../domain/calls/views/kept-requests.ts";
import type { Caller } from "../../domain/keys.ts";

/** The field of records, and the parameter of requests, that has a callback URL. */
const CALLBACK_FIELD = "callback_url";
/** The header by which clients of OpenFaaS send one. */
const CALLBACK_HEADER = "x-callback-url";

/** Stands for the path and query of a callback URL, which often have a token. */
const HIDDEN = "/***";
/** Fields with names that users choose: what they hold is not ours. */
const USERS_OWN: ReadonlySet<string> = new Set(["environment", "labels"]);

/** Returns whether a caller may see callback URLs whole: one that may set them. */
export function seesCallbackPaths({ scopes }: Caller): boolean {
  return scopes.some((scope) => scope === "admin" || scope === "deploy");
}

/**
 * Returns what a caller may see of records: as they are for one that may set callback URLs; for any other, each
 * `callback_url`, also within lists and records, has `/***` in place of its path.
 */
export function shownTo<T>(caller: Caller, data: T): T {
  // Only the values of strings change, so the type stays.
  return seesCallbackPaths(caller) ? data : (withoutPaths(data) as T);
}

/** Returns a callback URL as this caller may see it. */
export function urlShownTo(caller: Caller, url: string): string {
  return seesCallbackPaths(caller) ? url : withoutPath(url);
}

/** Returns a request that was kept as this caller may see it: whoever sent it may have named a callback URL in it. */
export function requestShownTo(caller: Caller, request: KeptRequest): KeptRequest {
  if (seesCallbackPaths(caller)) return request;
  const { url, headers } = request;
  const named = headers[CALLBACK_HEADER];
  return {
    ...request,
    url: withoutCallbackPath(url),
    headers: named === undefined ? headers : { ...headers, [CALLBACK_HEADER]: withoutPath(named) },
  };
}

/** Returns a path and query in which a callback URL has no path; the rest stays as it was sent. */
function withoutCallbackPath(target: string): string {
  const mark = target.indexOf("?");
  if (mark === -1) return target;
  const parts = target
    .slice(mark + 1)
    .split("&")
    .map((part) => {
      const [[name, value] = ["", ""]] = new URLSearchParams(part);
      return name === CALLBACK_FIELD ? `${name}=${encodeURIComponent(withoutPath(value))}` : part;
    });
  return `${target.slice(0, mark)}?${parts.join("&")}`;
}

function withoutPaths(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPaths);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, shownField(name, field)]));
}

function shownField(name: string, field: unknown): unknown {
  if (name === CALLBACK_FIELD && typeof field === "string") return withoutPath(field);
  return USERS_OWN.has(name) ? field : withoutPaths(field);
}

function withoutPath(url: string): string {
  return (URL.parse(url)?.origin ?? "") + HIDDEN;
}
