import { AppError } from "../errors.ts";
import type { Route } from "./routes.ts";

/** The part of a route that chooses the version of a call. */
type Directions = Pick<Route, "id" | "version" | "split">;

/**
 * Returns the version that a call runs, or null for the current one. The choice is derived from `ticket`: the value of the
 * split's sticky header if it was sent, else a text that no other call has. The same ticket has the same outcome on a
 * route, and a change of the percentage moves only the difference to the other version.
 */
export function versionOf({ id, version, split }: Directions, ticket: string): number | null {
  return split !== null && bucketOf(id, ticket) < split.percent ? split.version : version;
}

/** Returns a number below 100. It depends on the route's id, so that the same users are not the first on every route. */
function bucketOf(routeId: string, ticket: string): number {
  return Bun.hash.xxHash32(`${routeId}\n${ticket}`) % 100;
}

/** Returns the versions that a route names. */
export function namedVersions({ version, split }: Pick<Route, "version" | "split">): readonly number[] {
  return [version, split?.version ?? null].filter((named) => named !== null);
}

/** Throws `invalid_request` if a split names the same version twice. */
export function checkDirections({ version, split }: Pick<Route, "version" | "split">): void {
  if (split === null || split.version !== version) return;
  throw new AppError(
    "invalid_request",
    `Invalid "split": its "version" is ${version}, as is the route's own: name another, or null for no split`,
  );
}
