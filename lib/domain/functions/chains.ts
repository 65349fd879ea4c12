import type { Function } from "./functions.ts";
import { CHAIN_DEPTH } from "../limits.ts";

/** A function as a link in chains. */
export type ChainLink = Pick<Function, "id" | "name" | "on_success" | "on_failure">;

/** The settings that lead from one function to the next. */
export const FOLLOWERS = ["on_success", "on_failure"] as const;

/**
 * Returns what is wrong with the chains of a changed function, or undefined: a chain must not be a cycle, which would
 * never end, nor be too long.
 */
export function chainProblem(all: readonly ChainLink[], changed: ChainLink): string | undefined {
  const links = new Map([...all, changed].map((link) => [link.id, link]));
  const followers = forwards(links);
  for (const setting of FOLLOWERS) {
    const way = wayBack(followers, changed.id, changed[setting]);
    if (way === undefined) continue;
    const steps = way.map((id) => JSON.stringify(links.get(id)?.name ?? id)).join(" -> ");
    return `Invalid "${setting}": it makes a cycle: ${steps}. Name a function whose own results do not lead here.`;
  }
  const length = longest(changed.id, followers) + longest(changed.id, backwards(followers));
  if (length <= CHAIN_DEPTH) return undefined;
  return `The function would be part of a chain of ${length} invocations after the first one: at most ${CHAIN_DEPTH} are allowed; make it shorter`;
}

type Neighbours = ReadonlyMap<string, readonly string[]>;

/** Returns the shortest way from a function through one of its followers back to itself, with both ends. */
function wayBack(followers: Neighbours, id: string, first: string | null): readonly string[] | undefined {
  if (first === null) return undefined;
  const ways = new Map([[first, [id, first]]]);
  // The map grows while it is walked.
  for (const [here, way] of ways) {
    if (here === id) return way;
    for (const next of followers.get(here) ?? []) if (!ways.has(next)) ways.set(next, [...way, next]);
  }
  return undefined;
}

function forwards(links: ReadonlyMap<string, ChainLink>): Neighbours {
  return new Map(
    [...links.values()].map((link) => [link.id, FOLLOWERS.map((name) => link[name]).filter((id) => id !== null)]),
  );
}

function backwards(followers: Neighbours): Neighbours {
  const before = new Map<string, string[]>();
  for (const [id, all] of followers) {
    for (const follower of all)
      before
        .set(follower, before.get(follower) ?? [])
        .get(follower)
        ?.push(id);
  }
  return before;
}

/** Returns the number of steps of the longest way from here. There are no cycles. */
function longest(id: string, neighbours: Neighbours, known = new Map<string, number>()): number {
  const found = known.get(id);
  if (found !== undefined) return found;
  // If there were a cycle after all, it would be walked once.
  known.set(id, 0);
  const steps = (neighbours.get(id) ?? []).map((next) => 1 + longest(next, neighbours, known));
  const most = Math.max(0, ...steps);
  known.set(id, most);
  return most;
}
