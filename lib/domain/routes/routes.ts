import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { Function } from "../functions/functions.ts";
import { ROUTE_PATH_BYTES } from "../limits.ts";
import { Nullable } from "../types.ts";
import { checkHosts } from "./hosts.ts";
import { GIVEN_ROUTE_OPTIONS, ROUTE_OPTIONS } from "./options.ts";
import { isPrefix } from "./table.ts";

const Path = Type.String({
  description:
    "The part of the URL after `/r`, percent-decoded. It is matched exactly unless it ends in `/*`: then it matches " +
    "everything below it, and itself. An exact path takes precedence over prefixes, and a longer prefix over a shorter one.",
  examples: ["/hello-world"],
});

/** A URL path below `/r`, or host names, that lead to a function; the function is embedded. */
export const Route = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["5d1c7c0e-8a53-44c5-b7a3-0f4f7c1f0e0a"] }),
  path: Nullable(
    Type.String({ description: `${Path.description} Null for a route with \`hosts\`.`, examples: ["/hello-world"] }),
  ),
  function: Function,
  ...ROUTE_OPTIONS,
});
export type Route = Static<typeof Route>;

/** The body of `POST /v1/routes`. */
export const CreateRoute = Type.Object(
  {
    path: Type.Optional(Path),
    function_id: Type.String({
      description: "The id or the name of the function.",
      examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
    }),
    ...GIVEN_ROUTE_OPTIONS,
  },
  { additionalProperties: false },
);
export type CreateRoute = Static<typeof CreateRoute>;

/** The body of `PATCH /v1/routes/:id`: absent fields stay as they are. */
export const UpdateRoute = Type.Partial(CreateRoute, { additionalProperties: false });
export type UpdateRoute = Static<typeof UpdateRoute>;

/** The address of a route: a path below `/r`, or host names. */
export type RouteAddress = Pick<Route, "path" | "hosts">;

/**
 * Returns the address of a route after a request: a path replaces hosts, and hosts a path. Throws `invalid_request` for none and
 * for both, and for what cannot be called. `own` are the names by which the API is reached.
 */
export function routeAddressOf(
  { path, hosts }: { readonly path?: string | null; readonly hosts?: readonly string[] },
  own: ReadonlySet<string>,
  before: RouteAddress = { path: null, hosts: [] },
): RouteAddress {
  if (typeof path === "string") checkRoutePath(path);
  if (hosts !== undefined) checkHosts(hosts, own);
  const address = {
    path: path ?? (hosts !== undefined && hosts.length > 0 ? null : before.path),
    hosts: [...(hosts ?? (typeof path === "string" ? [] : before.hosts))],
  };
  if (address.path !== null && address.hosts.length > 0) {
    throw new AppError(
      "invalid_request",
      'A route is at a "path" below /r, or at "hosts" of its own: give one of the two',
    );
  }
  if (address.path === null && address.hosts.length === 0) {
    throw new AppError("invalid_request", 'Missing "path": it must be a string; or give "hosts" in its place');
  }
  return address;
}

/**
 * Returns why a path could never be called, or undefined. URL parsers resolve `.` and `..`, turn `\` into `/`, and end the
 * path at `?` and `#`, so a route with one of them could be stored but not reached. `*` is only allowed as the last segment.
 */
export function routePathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return `it must begin with "/": did you mean "/${path}"?`;
  if (Buffer.byteLength(path) > ROUTE_PATH_BYTES) return `it is longer than ${ROUTE_PATH_BYTES} bytes`;
  // oxlint-disable-next-line no-control-regex -- it looks for control characters
  if (/[\u0000-\u001f\u007f]/.test(path)) return "it contains a control character";
  if (!path.isWellFormed()) return "it contains half of a surrogate pair";
  if (path.includes("//")) return 'it contains "//"';
  const forbidden = /[?#\\*%]/.exec(isPrefix(path) ? path.slice(0, -1) : path);
  if (forbidden?.[0] === "%") return 'it contains "%": give the path decoded';
  if (forbidden?.[0] === "*") return 'it contains "*" before its last segment: a prefix ends like "/files/*"';
  if (forbidden) return `it contains "${forbidden[0]}"`;
  if (path.split("/").some((segment) => segment === "." || segment === ".."))
    return 'it contains a "." or ".." segment';
  return undefined;
}

/** Throws `invalid_request` for a path that could never be called. */
export function checkRoutePath(path: string): void {
  const problem = routePathProblem(path);
  if (problem !== undefined) throw new AppError("invalid_request", `Invalid "path" ${quoted(path)}: ${problem}`);
}
