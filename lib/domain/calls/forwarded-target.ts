import type { FunctionRequest } from "./http-message.ts";

/** A request as a server behind a route sees it. */
export interface ForwardedTarget {
  /** Path and query, percent-encoded as they were sent; the path begins with a slash. */
  readonly target: string;
  /** The part of the path that led to the function, without a slash at its end: empty if nothing did. */
  readonly prefix: string;
}

/**
 * Returns the target of a request for a server that its function is: what a prefix route leaves of the path, with the query.
 * Any other route leads to `/`, as does `POST /v1/functions/:id/invoke`, whose query is not for the function.
 */
export function forwardedTarget({ url, via }: Pick<FunctionRequest, "url" | "via">): ForwardedTarget {
  if (via === null) return { target: url, prefix: "" };
  if (via.route === null) return { target: "/", prefix: "" };
  const mark = url.indexOf("?");
  const [path, query] = mark === -1 ? [url, ""] : [url.slice(0, mark), url.slice(mark)];
  const start = via.path_rest === null ? path.length : restStart(path, Buffer.byteLength(via.path_rest));
  return { target: `/${path.slice(start)}${query}`, prefix: path.slice(0, start).replace(/\/$/, "") };
}

const ESCAPE = /^%[0-9A-Fa-f]{2}$/;

/** Returns where the last so many bytes of a percent-encoded path begin; each `%` of it begins a code. */
function restStart(path: string, bytes: number): number {
  let start = path.length;
  for (let left = bytes; left > 0 && start > 0;) {
    const isCode = ESCAPE.test(path.slice(Math.max(0, start - 3), start));
    start -= isCode ? 3 : 1;
    // Bun percent-encodes what is not ASCII, so another character is one byte.
    left -= 1;
  }
  return start;
}
