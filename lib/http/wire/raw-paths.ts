import type { BunRequest } from "bun";
import { AppError } from "../../domain/errors.ts";
import { rawPatterns, ROOT_PATTERN } from "../front/raw-patterns.ts";
import { pathOf } from "./errors.ts";

/** The two ends of a request: a message that its path does not exist, or its handler. */
interface Destinations {
  /** The message for a path that does not exist. */
  readonly nowhere: string;
  readonly dispatch: (request: Request) => Response | Promise<Response>;
  /** Returns whether a request is, or may be, for a function with a host of its own, which also has the path `/`. */
  readonly isForHost: (request: Request) => boolean;
  readonly refuse: (request: Request, error: unknown) => Response;
}

/**
 * Returns routes for `Bun.serve` that refuse a request whose path changes when it is resolved. Proxies compare the path as
 * it was sent. Elysia finds handlers by `request.url`, where Bun has made `/` of `\` and resolved `..` and `%2e%2e`:
 * without these routes, what a proxy takes for a path below `/r/`, such as `/r/..\v1/functions`, would reach `/v1`.
 *
 * Bun matches routes with the path as it was sent (1.4.5; tests would show a change, which oven-sh/bun#42724 proposes),
 * but only reveals it as parameters, which are never empty. So there is a route for every number of segments, and one for
 * what follows them after an empty segment. Elysia adds routes of its own, which take precedence and match in the same way.
 */
export function rawPathRoutes({ nowhere, dispatch, isForHost, refuse }: Destinations) {
  const checked =
    (end: "" | "/") =>
    (request: BunRequest): Response | Promise<Response> => {
      try {
        if (request.url.startsWith("/")) resolveUrl(request);
        checkPath(pathOf(request.url), Object.values(request.params), end);
      } catch (error) {
        return refuse(request, error);
      }
      return dispatch(request);
    };
  const routes: Record<string, (request: BunRequest) => Response | Promise<Response>> = {
    // "/", or an empty segment at the beginning, behind which the path is not known: no resource has one.
    [ROOT_PATTERN]: (request) =>
      pathOf(request.url) === "/" && isForHost(request)
        ? dispatch(request)
        : refuse(request, new AppError("not_found", nowhere)),
  };
  for (const { pattern, end } of rawPatterns()) routes[pattern] = checked(end);
  return routes;
}

/** Makes the URL of a request absolute. Bun leaves it as it was sent if it cannot make one with the Host. */
function resolveUrl(request: Request): void {
  // HTTP/1.0 does without a Host.
  const given = request.headers.get("host") ?? "";
  if (given !== "") {
    throw new AppError("invalid_request", 'The Host header is malformed: send a host name, such as "localhost:9999"');
  }
  // The same object, because Bun knows its connection. Elysia would look for the path behind the seventh character.
  Object.defineProperty(request, "url", { value: new URL(`http://localhost${request.url}`).href });
}

/** Throws if a resolved path does not have the segments that were sent, percent-decoded; `end` is a slash if more follow. */
function checkPath(path: string, sent: readonly string[], end: "" | "/"): void {
  const plain = `/${sent.join("/")}${end}`;
  if (end === "" ? path === plain : path.startsWith(plain)) return;
  const segments = path.slice(1).split("/");
  const alike =
    (end === "" ? segments.length === sent.length : segments.length > sent.length) &&
    sent.every((segment, index) => segment === percentDecoded(segments[index] ?? ""));
  if (alike) return;
  throw new AppError(
    "invalid_request",
    'The path has "." or ".." segments or backslashes, which not every program reads alike: send it resolved',
  );
}

/** Decodes the percent signs in a path; throws `invalid_request` if one of them begins no valid code. */
export function percentDecoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (error) {
    throw new AppError(
      "invalid_request",
      "The path has a percent sign that no valid code follows: write the sign itself as %25",
      { cause: error },
    );
  }
}
