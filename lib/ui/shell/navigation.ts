import type { Rights } from "../data/session.ts";

/** A page that the navigation leads to. */
export interface Place {
  readonly path: string;
  /** Another path that belongs to it. */
  readonly also?: string;
  readonly name: string;
  readonly isFor: (rights: Rights) => boolean;
}

/** The pages by subject, in their order. */
export const PLACES: readonly (readonly Place[])[] = [
  [
    { path: "/", name: "Overview", isFor: () => true },
    { path: "/functions", also: "/deploy", name: "Functions", isFor: ({ catalogue }) => catalogue },
    { path: "/invocations", name: "Invocations", isFor: ({ records }) => records },
    { path: "/dead-letters", name: "Dead letters", isFor: ({ records }) => records },
  ],
  [
    { path: "/routes", name: "Routes", isFor: ({ catalogue }) => catalogue },
    { path: "/schedules", name: "Schedules", isFor: ({ catalogue }) => catalogue },
    { path: "/secrets", name: "Secrets", isFor: ({ catalogue }) => catalogue },
    { path: "/registries", name: "Registries", isFor: ({ catalogue }) => catalogue },
  ],
  [
    { path: "/keys", name: "Keys", isFor: ({ admin }) => admin },
    { path: "/audit", name: "Audit", isFor: ({ admin }) => admin },
    { path: "/system", name: "System", isFor: ({ records }) => records },
  ],
];

/** Returns whether a page belongs to a place of the navigation. */
export function isAt(place: Place, location: string): boolean {
  if (place.path === "/") return location === "/";
  return [place.path, place.also].includes(location) || location.startsWith(`${place.path}/`);
}
