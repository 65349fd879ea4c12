import { FOLLOWERS } from "../functions/chains.ts";
import type { Environment } from "../environment.ts";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { SETTINGS, type Settings } from "../functions/settings.ts";
import type { Function, Origins } from "../functions/functions.ts";
import { mapInSlices } from "../concurrency.ts";
import { FUNCTIONS, ROUTES } from "../limits.ts";
import { byManifestName, type FieldChange, type ManifestChange } from "./manifest.ts";
import { ROUTE_OPTIONS, type RouteOptions } from "../routes/options.ts";
import { routeName } from "../routes/route-name.ts";
import type { RouteAddress, Route } from "../routes/routes.ts";

/** A function as a manifest wants it. */
export interface FunctionTarget {
  readonly image: string;
  readonly environment: Environment;
  readonly settings: Settings;
  readonly origins: Origins;
  /** The image that its reference resolved to; undefined if the function keeps its image, or in a dry run. */
  readonly resolved: Pick<Function, "image_id" | "digest"> | undefined;
  /** A warning for the answer to a registration. */
  readonly warning?: string;
}

/** A route as a manifest wants it; `function` is the function's name in the manifest. */
export interface RouteTarget {
  readonly function: string;
  readonly options: RouteOptions;
}

/** All that a manifest wants, by name and by path or host. */
export interface Wanted {
  readonly functions: ReadonlyMap<string, FunctionTarget>;
  readonly routes: ReadonlyMap<string, RouteTarget>;
}

/** The functions and routes of a server. */
export interface Present {
  readonly functions: readonly Function[];
  readonly routes: readonly Route[];
}

type Names = Pick<ReadonlyMap<string, unknown>, "has">;

/** The fields of a record that change. */
type Fields = Readonly<Record<string, FieldChange>>;

/** The step that creates, changes or deletes a function or a route, or leaves it as it is. */
export type Step<Record, Target> =
  | { readonly action: "created"; readonly name: string; readonly target: Target }
  | {
      readonly action: "updated" | "unchanged";
      readonly name: string;
      readonly before: Record;
      readonly target: Target;
      readonly fields: Fields;
    }
  | { readonly action: "deleted"; readonly name: string; readonly before: Record };

/** All steps, in this order: functions are created before their routes and deleted after them. */
export interface Plan {
  readonly functions: readonly Step<Function, FunctionTarget>[];
  readonly routes: readonly Step<Route, RouteTarget>[];
  readonly deletedFunctions: readonly Step<Function, FunctionTarget>[];
}

// Object.keys forgets the type of the keys.
const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof Settings)[];
const OPTION_NAMES = Object.keys(ROUTE_OPTIONS) as readonly (keyof RouteOptions)[];

/** Plans the steps to what a manifest wants. Throws `invalid_request` if a route has no function, `conflict` if a limit is exceeded. */
export async function planOf(present: Present, wanted: Wanted, { prune }: { readonly prune: boolean }): Promise<Plan> {
  checkTargets(present, wanted, { prune });
  const known = byManifestName(present.functions);
  const nameOf = new Map([...known].map(([name, { id }]) => [id, name]));
  const mentioned = (fn: Function) => wanted.functions.has(nameOf.get(fn.id) ?? "");
  const kept = matchRoutes(present.routes, wanted.routes);
  const isKept = new Set(kept.values());
  const deletedRoutes = present.routes.filter(
    (route) => prune && !isKept.has(route) && (route.function.name !== null || mentioned(route.function)),
  );
  const plan: Plan = {
    functions: await mapInSlices(wanted.functions, ([name, target]) =>
      stepOf({ name, before: known.get(name), target }, (fn) => functionFields(withNames(fn, nameOf), target)),
    ),
    routes: [
      ...(await mapInSlices(wanted.routes, ([name, target]) =>
        stepOf({ name, before: kept.get(name), target }, (route) =>
          routeFields(route, nameOf.get(route.function.id) ?? "", target),
        ),
      )),
      ...deletedRoutes.map((before) => ({ action: "deleted" as const, name: routeName(before), before })),
    ],
    deletedFunctions: present.functions
      .filter((fn) => prune && isPruned(fn, wanted))
      .map((before) => ({ action: "deleted", name: nameOf.get(before.id) ?? before.id, before })),
  };
  checkCount("functions", FUNCTIONS, present.functions.length, [...plan.functions, ...plan.deletedFunctions]);
  checkCount("routes", ROUTES, present.routes.length, plan.routes);
  return plan;
}

/** Maps the names of wanted routes to the routes that are there: those at the same path, or at one of the same hosts. */
function matchRoutes(routes: readonly Route[], wanted: ReadonlyMap<string, RouteTarget>): Map<string, Route> {
  const byAddress = new Map<string, Route>();
  for (const route of routes) for (const address of addressesOf(route)) byAddress.set(address, route);
  const found = new Map<string, Route>();
  const taken = new Set<Route>();
  for (const [name, { options }] of wanted) {
    const address = { path: options.hosts.length > 0 ? null : name, hosts: options.hosts };
    const match = addressesOf(address)
      .map((one) => byAddress.get(one))
      .find((route) => route !== undefined && !taken.has(route));
    if (match === undefined) continue;
    found.set(name, match);
    taken.add(match);
  }
  return found;
}

function addressesOf({ path, hosts }: RouteAddress): readonly string[] {
  return path === null ? hosts : [path];
}

function checkCount(what: string, limit: number, before: number, steps: readonly { readonly action: string }[]): void {
  const count = (action: string) => steps.filter((step) => step.action === action).length;
  const after = before + count("created") - count("deleted");
  if (count("created") === 0 || after <= limit) return;
  throw new AppError("conflict", `There would be ${after} ${what}: at most ${limit} are allowed, delete some`);
}

/** Returns a plan as the API reports it. */
export function changesOf({ functions, routes, deletedFunctions }: Plan): ManifestChange[] {
  const change = (kind: "function" | "route") => (step: Step<unknown, unknown>) => ({
    kind,
    name: step.name,
    action: step.action,
    fields: "fields" in step ? step.fields : {},
  });
  return [
    ...functions.map(change("function")),
    ...routes.map(change("route")),
    ...deletedFunctions.map(change("function")),
  ];
}

/** Throws `invalid_request` if a route leads to a function that will not exist. */
export function checkTargets(
  present: Present,
  {
    functions,
    routes,
  }: { readonly functions: Names; readonly routes: ReadonlyMap<string, { readonly function: string }> },
  { prune }: { readonly prune: boolean },
): void {
  const isThere = existence(present, functions, prune);
  for (const [path, target] of routes) {
    if (isThere(target.function)) continue;
    throw new AppError(
      "invalid_request",
      `The route ${quoted(path)} leads to "${target.function}", which is not a function in the manifest ` +
        'or one that stays on the server: add it to "functions", or correct the name',
    );
  }
}

/** Throws `invalid_request` if a follower of a function will not exist. */
export function checkFollowers(
  present: Present,
  functions: ReadonlyMap<string, Partial<Pick<Settings, (typeof FOLLOWERS)[number]>>>,
  { prune }: { readonly prune: boolean },
): void {
  const isThere = existence(present, functions, prune);
  for (const [name, settings] of functions) {
    for (const setting of FOLLOWERS) {
      const follower = settings[setting];
      if (follower === undefined || follower === null || isThere(follower)) continue;
      throw new AppError(
        "invalid_request",
        `The function ${quoted(name)} has the "${setting}" ${quoted(follower)}, which is not a function in the ` +
          'manifest or one that stays on the server: add it to "functions", or correct the name',
      );
    }
  }
}

/** Returns a predicate: whether a function will exist, by its name in manifests. */
function existence(present: Present, functions: Names, prune: boolean): (name: string) => boolean {
  const known = byManifestName(present.functions);
  return (name) => {
    const fn = known.get(name);
    return functions.has(name) || (fn !== undefined && !(prune && isPruned(fn, { functions })));
  };
}

/** Returns whether `prune` deletes a function. Unnamed functions were made by hand: `prune` never deletes them. */
function isPruned({ name }: Function, { functions }: { readonly functions: Names }): boolean {
  return name !== null && !functions.has(name);
}

function stepOf<R, T>(
  { name, before, target }: { readonly name: string; readonly before: R | undefined; readonly target: T },
  fieldsOf: (before: R) => Fields,
): Step<R, T> {
  if (before === undefined) return { action: "created", name, target };
  const fields = fieldsOf(before);
  return { action: Object.keys(fields).length > 0 ? "updated" : "unchanged", name, before, target, fields };
}

function functionFields(fn: Function, { image, environment, settings, resolved }: FunctionTarget): Fields {
  const moved = image === fn.image ? resolved : undefined;
  return Object.fromEntries([
    ...changed("image", fn.image, image),
    ...(moved
      ? [...changed("image_id", fn.image_id, moved.image_id), ...changed("digest", fn.digest, moved.digest)]
      : []),
    ...SETTING_NAMES.flatMap((name) => changed(name, fn[name], settings[name])),
    ...environmentFields(fn.environment, environment),
  ]);
}

function routeFields(route: Route, name: string, target: RouteTarget): Fields {
  return Object.fromEntries([
    ...changed("function", name, target.function),
    ...OPTION_NAMES.flatMap((option) => changed(option, route[option], target.options[option])),
  ]);
}

/** Returns a function as manifests show it: its followers by name, not by id. */
export function withNames(fn: Function, nameOf: ReadonlyMap<string, string>): Function {
  const named = (id: string | null) => (id === null ? null : (nameOf.get(id) ?? id));
  return { ...fn, on_success: named(fn.on_success), on_failure: named(fn.on_failure) };
}

/** Lists changed variables without their values: values may be sensitive, and answers end up in the logs of pipelines. */
function environmentFields(before: Environment, after: Environment): [string, FieldChange][] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const valueOf = (variables: Environment, name: string) =>
    Object.hasOwn(variables, name) ? variables[name] : undefined;
  const masked = (variables: Environment, name: string) => (Object.hasOwn(variables, name) ? "***" : null);
  return names
    .filter((name) => valueOf(before, name) !== valueOf(after, name))
    .map((name) => [`environment/${name}`, { from: masked(before, name), to: masked(after, name) }]);
}

function changed(field: string, from: unknown, to: unknown): [string, FieldChange][] {
  return Bun.deepEquals(from, to) ? [] : [[field, { from, to }]];
}
