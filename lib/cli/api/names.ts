import { closest, distance } from "fastest-levenshtein";
import type { Function } from "../../domain/functions/functions.ts";
import type { Key } from "../../domain/keys.ts";
import type { Registry } from "../../domain/images/registries.ts";
import { routeName } from "../../domain/routes/route-name.ts";
import type { Route } from "../../domain/routes/routes.ts";
import type { ScheduleWithTimes } from "../../domain/schedules.ts";
import type { Secret } from "../../domain/secrets.ts";
import { CommandError } from "../exit-codes.ts";
import { type ApiClient, ApiError } from "./api-client.ts";

/** The kinds of records that people name on the command line: the command that lists them, and how to get their names. */
const KINDS = {
  function: {
    list: "slipway ls",
    names: async (client: ApiClient) =>
      (await client.data<Function[]>({ method: "GET", path: "/v1/functions" })).map(({ id, name }) => name ?? id),
  },
  route: {
    list: "slipway routes",
    names: async (client: ApiClient) =>
      (await client.data<Route[]>({ method: "GET", path: "/v1/routes" })).map(routeName),
  },
  schedule: {
    list: "slipway schedules",
    names: async (client: ApiClient) =>
      (await client.data<ScheduleWithTimes[]>({ method: "GET", path: "/v1/schedules" })).map(({ id }) => id),
  },
  secret: {
    list: "slipway secrets",
    names: async (client: ApiClient) =>
      (await client.data<Secret[]>({ method: "GET", path: "/v1/secrets" })).map(({ name }) => name),
  },
  registry: {
    list: "slipway registries",
    names: async (client: ApiClient) =>
      (await client.data<Registry[]>({ method: "GET", path: "/v1/registries" })).map(({ host }) => host),
  },
  key: {
    list: "slipway keys",
    names: async (client: ApiClient) =>
      (await client.data<Key[]>({ method: "GET", path: "/v1/keys" })).flatMap(({ id, name }) => [id, name]),
  },
} as const;

export type Kind = keyof typeof KINDS;

/** Returns whether records of a kind have names that a shell can complete. */
export function isKind(text: string): text is Kind {
  return Object.hasOwn(KINDS, text);
}

/** Returns the names of all records of a kind. */
export function namesOf(client: ApiClient, kind: Kind): Promise<readonly string[]> {
  return KINDS[kind].names(client);
}

/** Returns a name or an id as a part of a path. */
export function segment(kind: Kind | "invocation", name: string): string {
  // As a part of a URL's path they would lead somewhere else.
  if (["", ".", ".."].includes(name)) throw new CommandError(`No ${kind} ${JSON.stringify(name)}: give its name or id`);
  return encodeURIComponent(name);
}

/** Runs a request about a record. If there is none of that name, the error suggests the closest one. */
export async function about<T>(client: ApiClient, kind: Kind, name: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== "not_found") throw error;
    throw await unknownName(client, kind, name, error);
  }
}

/** Makes the error for a name that no record of a kind has. */
export async function unknownName(client: ApiClient, kind: Kind, name: string, cause?: ApiError): Promise<Error> {
  // A key that may not list records still gets the rest of the message.
  const names = await namesOf(client, kind).catch(() => []);
  const hint = closestName(name, names);
  const suggestion = hint === undefined ? "" : `did you mean "${hint}"? `;
  return new CommandError(`No ${kind} ${JSON.stringify(name)}: ${suggestion}"${KINDS[kind].list}" lists them`, 1, {
    cause,
  });
}

/** Returns the name that was probably meant, if there is one. */
export function closestName(name: string, names: readonly string[]): string | undefined {
  const [first] = names;
  if (first === undefined) return undefined;
  const found = closest(name, names);
  return distance(name, found) <= Math.max(2, Math.ceil(name.length / 2)) ? found : undefined;
}
