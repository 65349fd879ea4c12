import type { Function } from "./functions.ts";
import { CHAIN_DEPTH } from "../limits.ts";

/** A function as a part of chains. */
export type ChainLink = Pick<Function, "id" | "name" | "on_success" | "on_failure">;

/** The settings that lead from one function to the next. */
export const FOLLOWERS = ["on_success", "on_failure"] as const;

/**
 * What is wrong with the chains that a changed function is part of, among all functions: one that leads back to where it
 * began would never end, and neither must a chain be too long. Undefined where nothing is.
 */
export function chainProblem(all: readonly ChainLink[], changed: ChainLink): string | undefined {
  const links = new Map([...all, changed].map((link) => [link.id, link]));
  const followers = forwards(links);
  for (const setting of FOLLOWERS) {
    const way = wayBack(followers, changed.id, changed[setting]);
    if (way === undefined) continue;
    const shown = way.map((id) => JSON.stringify(links.get(id)?.name ?? id)).join(" -> ");
    return `Invalid "${setting}": it leads back to where it began: ${shown}. Name a function whose own results do not lead here.`;
  }
  const length = longest(changed.id, followers) + longest(changed.id, backwards(followers));
  if (length <= CHAIN_DEPTH) return undefined;
  return `The function would be part of a chain of ${length} invocations after the first one: at most ${CHAIN_DEPTH} are allowed; make it shorter`;
}

type Neighbours = ReadonlyMap<string, readonly string[]>;

/** The shortest way from a function over one of its followers back to itself, which it begins and ends with. */
function wayBack(followers: Neighbours, id: string, first: string | null): readonly string[] | undefined {
  if (first === null) return undefined;
  const ways = new Map([[first, [id, first]]]);
  // It grows while it is walked.
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

/** How many steps the longest way from here has. No way leads back to where it began. */
function longest(id: string, neighbours: Neighbours, known = new Map<string, number>()): number {
  const found = known.get(id);
  if (found !== undefined) return found;
  // Should there be a cycle after all, it is walked once.
  known.set(id, 0);
  const steps = (neighbours.get(id) ?? []).map((next) => 1 + longest(next, neighbours, known));
  const most = Math.max(0, ...steps);
  known.set(id, most);
  return most;
}
