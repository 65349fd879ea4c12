import { mapInSlices } from "../concurrency.ts";
import { isolationTo } from "../functions/isolation.ts";
import { settingsAtCreation } from "../functions/rules.ts";
import { SETTINGS, type Settings } from "../functions/settings.ts";
import type { Function } from "../functions/functions.ts";
import { LABEL_SETTINGS } from "../images/labels.ts";
import type { Manifest, ManifestFunction, ManifestRoute } from "./manifest.ts";
import { byManifestName } from "./manifest.ts";
import { withNames } from "./plan.ts";
import { escapeDollars } from "./variables.ts";
import { defaultsFor, ROUTE_DEFAULTS, ROUTE_OPTIONS } from "../routes/options.ts";
import { routeName } from "../routes/route-name.ts";
import type { Route } from "../routes/routes.ts";

/** The state of a server. */
export interface Exported {
  readonly functions: readonly Function[];
  readonly routes: readonly Route[];
  readonly secrets: readonly string[];
  /**
   * Returns the settings that a function's image gives; undefined if they are unknown. Without a contract among them, it is for the
   * manifest to say it.
   */
  readonly settingsOfImage: (fn: Function) => Partial<Settings> | undefined;
}

// Object.keys forgets the type of the keys.
const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof Settings)[];
const OPTION_NAMES = Object.keys(ROUTE_OPTIONS) as readonly (keyof typeof ROUTE_OPTIONS)[];

/** Makes the manifest of a server, in slices: applied to it, it changes nothing. Defaults are left out. */
export async function manifestOf({ functions, routes, secrets, settingsOfImage }: Exported): Promise<Manifest> {
  const names = byManifestName(functions);
  const nameOf = new Map([...names].map(([name, { id }]) => [id, name]));
  // In the order of the list, oldest first.
  const functionEntries = await mapInSlices(functions, (fn): [string, ManifestFunction] => [
    nameOf.get(fn.id) ?? fn.id,
    escaped(functionEntry(withNames(fn, nameOf), settingsOfImage(fn))),
  ]);
  const routeEntries = await mapInSlices(routes, (route): [string, ManifestRoute] => [
    routeName(route),
    escaped(routeEntry(route, nameOf.get(route.function.id) ?? "")),
  ]);
  return {
    version: 1,
    functions: Object.fromEntries(functionEntries),
    routes: Object.fromEntries(routeEntries),
    secrets: escaped([...secrets]),
  };
}

function escaped<T>(value: T): T {
  return escapeDollars(value) as T; // only texts differ: the shape is the same
}

function functionEntry(fn: Function, known: Partial<Settings> | undefined): ManifestFunction {
  // If nothing is known of the image, every setting that it could give is written out.
  const written: readonly (keyof Settings)[] = known === undefined ? LABEL_SETTINGS : [];
  const ofImage = known ?? {};
  const contract = ofImage.contract === fn.contract ? {} : { contract: fn.contract };
  const sandbox = settingsAtCreation({}, ofImage).sandbox === fn.sandbox ? {} : { sandbox: fn.sandbox };
  const first = { ...contract, ...sandbox };
  const given = { ...first, ...isolationTo(settingsAtCreation(first, ofImage), fn) };
  const asNew = settingsAtCreation(given, ofImage);
  const own = SETTING_NAMES.filter(
    (name) => name in given || written.includes(name) || !Bun.deepEquals(fn[name], asNew[name]),
  );
  return {
    image: fn.image,
    ...Object.fromEntries(own.map((name) => [name, fn[name]])),
    ...(Object.keys(fn.environment).length > 0 && { environment: fn.environment }),
  };
}

function routeEntry(route: Route, fn: string): ManifestRoute {
  const asNew = { ...defaultsFor(route.auth, route.function.contract), auth: ROUTE_DEFAULTS.auth };
  const own = OPTION_NAMES.filter((name) => !Bun.deepEquals(route[name], asNew[name]));
  return { function: fn, ...Object.fromEntries(own.map((name) => [name, route[name]])) };
}
