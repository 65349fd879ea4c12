import { AppError } from "../../domain/errors.ts";

/** The header of requests that our own pages make to change something: no form has it, nor may another origin's script send it. */
export const PAGE_HEADER = "X-Slipway-Page";

const READING: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/**
 * Refuses a request with a cookie, or for one, that was not made by a page of ours. A browser also sends the cookie for pages of the
 * same host on other ports (`SameSite` does not tell them apart), and it says whose page it is. A link may be followed from anywhere:
 * it only reads, and the page that has it does not get the answer.
 */
export function checkOwnPage({ method, headers }: Request): void {
  const site = headers.get("sec-fetch-site");
  const origin = headers.get("origin");
  const isRead = READING.has(method);
  if (isRead && headers.get("sec-fetch-mode") === "navigate" && headers.get("sec-fetch-dest") === "document") return;
  const isOwn =
    (site === null || site === "same-origin" || (isRead && site === "none")) &&
    (origin === null || URL.parse(origin)?.host === headers.get("host"));
  if (isOwn && isRead) return;
  if (isOwn && headers.has(PAGE_HEADER) && (site !== null || origin !== null)) return;
  throw new AppError(
    "forbidden",
    `A login in the browser is for pages of this server only: send an API key, or, from a page of its own, ${PAGE_HEADER}: 1`,
  );
}
