import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { Function } from "../functions/functions.ts";
import { ROUTE_PATH_BYTES } from "../limits.ts";
import { GIVEN_ROUTE_OPTIONS, ROUTE_OPTIONS } from "./options.ts";
import { isPrefix } from "./table.ts";

/** A URL path below `/r` that leads to a function; the function is embedded. */
export const Route = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["5d1c7c0e-8a53-44c5-b7a3-0f4f7c1f0e0a"] }),
  path: Type.String({
    description:
      "What follows `/r` in the URL, percent-decoded. It is matched exactly, unless it ends in `/*`: then it stands for " +
      "all that is below it, and for itself. An exact path goes before prefixes, a longer prefix before a shorter one.",
    examples: ["/hello-world"],
  }),
  function: Function,
  ...ROUTE_OPTIONS,
});
export type Route = Static<typeof Route>;

/** The body of `POST /v1/routes`. */
export const CreateRoute = Type.Object(
  {
    path: Route.properties.path,
    function_id: Type.String({
      description: "The id or the name of the function.",
      examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
    }),
    ...GIVEN_ROUTE_OPTIONS,
  },
  { additionalProperties: false },
);
export type CreateRoute = Static<typeof CreateRoute>;

/** The body of `PATCH /v1/routes/:id`: what is absent stays as it is. */
export const UpdateRoute = Type.Partial(CreateRoute, { additionalProperties: false });
export type UpdateRoute = Static<typeof UpdateRoute>;

/**
 * What makes a path impossible to call, or nothing. URL parsers resolve `.` and `..`, turn `\` into `/`,
 * and end the path at `?` and `#`, so a route with one of them could be stored and never reached;
 * `*` is the last segment of a prefix route and nothing else.
 */
export function routePathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return `it must begin with "/": did you mean "/${path}"?`;
  if (Buffer.byteLength(path) > ROUTE_PATH_BYTES) return `it is longer than ${ROUTE_PATH_BYTES} bytes`;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) return "it contains a control character";
  if (!path.isWellFormed()) return "it contains half of a surrogate pair";
  if (path.includes("//")) return 'it contains "//"';
  const forbidden = /[?#\\*%]/.exec(isPrefix(path) ? path.slice(0, -1) : path);
  if (forbidden?.[0] === "%") return 'it contains "%": give the path decoded';
  if (forbidden?.[0] === "*")
    return 'it contains "*" elsewhere than as its last segment: "/files/*" is how a prefix ends';
  if (forbidden) return `it contains "${forbidden[0]}"`;
  if (path.split("/").some((segment) => segment === "." || segment === ".."))
    return 'it contains a "." or ".." segment';
  return undefined;
}

/** Throws `invalid_request` for a path that could never be called. */
export function checkRoutePath(path: string): void {
  const problem = routePathProblem(path);
  if (problem !== undefined) {
    const shown = path.length > 100 ? `${path.slice(0, 100)}...` : path;
    throw new AppError("invalid_request", `Invalid "path" ${JSON.stringify(shown)}: ${problem}`);
  }
}
