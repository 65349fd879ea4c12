import { AppError } from "../errors.ts";
import type { Route } from "./routes.ts";

/** As much of a route as says which version a call of it runs. */
type Directions = Pick<Route, "id" | "version" | "split">;

/**
 * The version that a call runs, or null for what the function is now. `ticket` is what chance is drawn from: the value
 * of the split's header where it is sticky and was sent, else something that no other call has. The same ticket has the
 * same outcome on a route, and where the percentage changes, only as many calls change sides as it changed by.
 */
export function versionOf({ id, version, split }: Directions, ticket: string): number | null {
  return split !== null && placeOf(id, ticket) < split.percent ? split.version : version;
}

/** A number below a hundred. The route's own id is in it, so that the same people are not always the first to try things. */
function placeOf(routeId: string, ticket: string): number {
  return Bun.hash.xxHash32(`${routeId}\n${ticket}`) % 100;
}

/** The versions that a route names. */
export function namedVersions({ version, split }: Pick<Route, "version" | "split">): readonly number[] {
  return [version, split?.version ?? null].filter((named) => named !== null);
}

/** Throws `invalid_request` for directions that contradict each other. */
export function checkDirections({ version, split }: Pick<Route, "version" | "split">): void {
  if (split === null || split.version !== version) return;
  throw new AppError(
    "invalid_request",
    `Invalid "split": its "version" is ${version}, as is the route's own; name another one, or null for no split`,
  );
}
