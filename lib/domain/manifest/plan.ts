import { FOLLOWERS } from "../functions/chains.ts";
import type { Environment } from "../environment.ts";
import { AppError } from "../errors.ts";
import { SETTINGS, type Settings } from "../functions/settings.ts";
import type { Function } from "../functions/functions.ts";
import { FUNCTIONS, ROUTES } from "../limits.ts";
import { byManifestName, type FieldChange, type ManifestChange } from "./manifest.ts";
import { ROUTE_OPTIONS, type RouteOptions } from "../routes/options.ts";
import type { Route } from "../routes/routes.ts";

/** What a function of a manifest is to be. */
export interface FunctionTarget {
  readonly image: string;
  readonly environment: Environment;
  readonly settings: Settings;
  /** The image that was found for it; undefined where it keeps the one that it has, or nobody has looked. */
  readonly resolved: Pick<Function, "image_id" | "digest"> | undefined;
}

/** What a route of a manifest is to be; `function` is what the manifest calls it. */
export interface RouteTarget {
  readonly function: string;
  readonly options: RouteOptions;
}

/** What a manifest wants, by name and by path. */
export interface Wanted {
  readonly functions: ReadonlyMap<string, FunctionTarget>;
  readonly routes: ReadonlyMap<string, RouteTarget>;
}

/** What a server has. */
export interface Present {
  readonly functions: readonly Function[];
  readonly routes: readonly Route[];
}

type Names = Pick<ReadonlyMap<string, unknown>, "has">;

/** What is another in a record. */
type Fields = Readonly<Record<string, FieldChange>>;

/** What is to be done with a function or a route. */
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

/** All that is to be done, in this order: functions come before their routes, and go after them. */
export interface Plan {
  readonly functions: readonly Step<Function, FunctionTarget>[];
  readonly routes: readonly Step<Route, RouteTarget>[];
  readonly deletedFunctions: readonly Step<Function, FunctionTarget>[];
}

// Object.keys forgets the type of the keys.
const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof Settings)[];
const OPTION_NAMES = Object.keys(ROUTE_OPTIONS) as readonly (keyof RouteOptions)[];

/** What makes a server what a manifest wants. Throws `invalid_request` where a route leads nowhere, `conflict` where there are too many. */
export function planOf(present: Present, wanted: Wanted, { prune }: { readonly prune: boolean }): Plan {
  checkTargets(present, wanted, { prune });
  const known = byManifestName(present.functions);
  const nameOf = new Map([...known].map(([name, { id }]) => [id, name]));
  const mentioned = (fn: Function) => wanted.functions.has(nameOf.get(fn.id) ?? "");
  const paths = new Map(present.routes.map((route) => [route.path, route]));
  const deletedRoutes = present.routes.filter(
    (route) => prune && !wanted.routes.has(route.path) && (route.function.name !== null || mentioned(route.function)),
  );
  const plan: Plan = {
    functions: [...wanted.functions].map(([name, target]) =>
      stepOf({ name, before: known.get(name), target }, (fn) => functionFields(withNames(fn, nameOf), target)),
    ),
    routes: [
      ...[...wanted.routes].map(([name, target]) =>
        stepOf({ name, before: paths.get(name), target }, (route) =>
          routeFields(route, nameOf.get(route.function.id) ?? "", target),
        ),
      ),
      ...deletedRoutes.map((before) => ({ action: "deleted" as const, name: before.path, before })),
    ],
    deletedFunctions: present.functions
      .filter((fn) => prune && isForgotten(fn, wanted))
      .map((before) => ({ action: "deleted", name: nameOf.get(before.id) ?? before.id, before })),
  };
  checkCount("functions", FUNCTIONS, present.functions.length, [...plan.functions, ...plan.deletedFunctions]);
  checkCount("routes", ROUTES, present.routes.length, plan.routes);
  return plan;
}

function checkCount(what: string, limit: number, before: number, steps: readonly { readonly action: string }[]): void {
  const count = (action: string) => steps.filter((step) => step.action === action).length;
  const after = before + count("created") - count("deleted");
  if (count("created") === 0 || after <= limit) return;
  throw new AppError("conflict", `There would be ${after} ${what}: at most ${limit} are allowed, delete some`);
}

/** A plan as it is told. */
export function changesOf({ functions, routes, deletedFunctions }: Plan): ManifestChange[] {
  const told = (kind: "function" | "route") => (step: Step<unknown, unknown>) => ({
    ...{ kind, name: step.name, action: step.action },
    fields: "fields" in step ? step.fields : {},
  });
  return [...functions.map(told("function")), ...routes.map(told("route")), ...deletedFunctions.map(told("function"))];
}

/** Throws `invalid_request` where a route would lead nowhere. */
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
      `The route ${JSON.stringify(path.slice(0, 100))} leads to "${target.function}", which is no function of the manifest, ` +
        'and none that stays on the server: add it to "functions", or correct the name',
    );
  }
}

/** Throws `invalid_request` where a function would hand its results to none. */
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
        `The function ${JSON.stringify(name)} has the "${setting}" ${JSON.stringify(follower.slice(0, 100))}, which is no function of the ` +
          'manifest, and none that stays on the server: add it to "functions", or correct the name',
      );
    }
  }
}

/** Whether a function will be there, by the name that manifests know it by. */
function existence(present: Present, functions: Names, prune: boolean): (name: string) => boolean {
  const known = byManifestName(present.functions);
  return (name) => {
    const fn = known.get(name);
    return functions.has(name) || (fn !== undefined && !(prune && isForgotten(fn, { functions })));
  };
}

/** What nobody has named, nobody has written down: it was made by hand, and is not forgotten by a manifest. */
function isForgotten({ name }: Function, { functions }: { readonly functions: Names }): boolean {
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

/** A function as manifests know it: its followers by their names, not their ids. */
export function withNames(fn: Function, nameOf: ReadonlyMap<string, string>): Function {
  const named = (id: string | null) => (id === null ? null : (nameOf.get(id) ?? id));
  return { ...fn, on_success: named(fn.on_success), on_failure: named(fn.on_failure) };
}

/** Values may be sensitive, and answers end in the logs of pipelines: the names say enough. */
function environmentFields(before: Environment, after: Environment): [string, FieldChange][] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const valueOf = (variables: Environment, name: string) =>
    Object.hasOwn(variables, name) ? variables[name] : undefined;
  const shown = (variables: Environment, name: string) => (Object.hasOwn(variables, name) ? "***" : null);
  return names
    .filter((name) => valueOf(before, name) !== valueOf(after, name))
    .map((name) => [`environment/${name}`, { from: shown(before, name), to: shown(after, name) }]);
}

function changed(field: string, from: unknown, to: unknown): [string, FieldChange][] {
  return Bun.deepEquals(from, to) ? [] : [[field, { from, to }]];
}
