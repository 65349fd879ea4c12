import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { ConfigError } from "../../config/config.ts";
import type { Build } from "../../domain/builds/builds.ts";
import type { ChangedFunction, Function, FunctionWithPool } from "../../domain/functions/functions.ts";
import { routeUrl } from "../../domain/routes/route-name.ts";
import type { Route } from "../../domain/routes/routes.ts";
import { type ApiClient, ApiError } from "../api/api-client.ts";
import { buildImage, type DeployOutput } from "./build.ts";
import { packContext } from "./context.ts";
import { DEFAULT_DOCKERFILE, NOT_FOR_IMAGES, type Template, templateFor } from "./templates.ts";

/** The options of `slipway deploy`. */
export interface DeployOptions {
  /** A folder, or the reference of an image. */
  readonly source: string;
  /** The name of the function; that of the folder or the image by default. */
  readonly name?: string | undefined;
  /** The path of the route below `/r`; the name by default, and none at all if the function has one already. */
  readonly route?: string | undefined;
  /** Variables for the function, in place of those that it has. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  readonly dockerfile?: string | undefined;
  readonly target?: string | undefined;
  readonly build_args?: Readonly<Record<string, string>> | undefined;
  readonly no_cache?: boolean | undefined;
  readonly pull?: boolean | undefined;
  /** Labels of a function that is created. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Ends the deployment, and cancels its build. The registration of what was built goes on. */
  readonly signal: AbortSignal;
  /** Ends that, too. */
  readonly abandon?: AbortSignal | undefined;
}

/** A function that was deployed. */
export interface Deployed {
  readonly url: string;
  readonly function: ChangedFunction;
  readonly route: Route;
  /** Null if an image was deployed as it is. */
  readonly build: Build | null;
}

/** A deployment that has failed. The message says what to do. */
export class DeployError extends Error {
  override readonly name = "DeployError";
}

/** The label that says of which folder a function was made: a hash of its path, which is nobody else's business. */
const ORIGIN_LABEL = "slipway-folder";
/** The time that the server may take for a pull, in milliseconds. */
const PULL_MS = 900_000;
/** The time that a function has until an instance of it is ready, and between two looks at it, in milliseconds. */
const READY_MS = 60_000;
const LOOK_MS = 100;

/**
 * Makes a function of a folder or of an image: builds it, registers it or updates the function of that name, gives it a route,
 * and waits until it is ready.
 */
export async function deploy(options: DeployOptions, api: ApiClient, out: DeployOutput): Promise<Deployed> {
  const { source, labels, signal } = options;
  const directory = await directoryOf(source);
  const name = options.name ?? defaultName(directory ?? source);
  if (directory === undefined) out.note(`No folder "${source}" here: deploying the image of that name`);
  // Before a folder is packed, which may take long: a server that is not there, or refuses the key, is told at once.
  const before = await functionNamed(api, name);
  const origin = directory === undefined ? {} : { [ORIGIN_LABEL]: await originOf(directory) };
  const known = before?.labels[ORIGIN_LABEL];
  if (options.name === undefined && known !== undefined && known !== origin[ORIGIN_LABEL]) {
    out.note(
      `Warning: the function "${name}" was made of another folder of that name, and becomes this one. Give this one a name of its ` +
        `own with --name; "slipway rollback ${name}" brings the other one back`,
    );
  }
  const built = directory === undefined ? undefined : await buildFolder({ ...options, name }, directory, api, out);
  const body = {
    image: built?.image ?? source,
    ...(options.environment !== undefined && { environment: options.environment }),
  };
  // An image that was built is there: this takes no pull, and whoever left would not know whether the function exists.
  const until = built === undefined ? signal : options.abandon;
  const request = { timeout_ms: PULL_MS, ...(until !== undefined && { signal: until }) };
  const fn =
    before === undefined
      ? await api.data<ChangedFunction>({
          ...request,
          method: "POST",
          path: "/v1/functions",
          body: { ...body, name, labels: { ...origin, ...labels } },
        })
      : await api.data<ChangedFunction>({ ...request, method: "PATCH", path: `/v1/functions/${before.id}`, body });
  out.note(told(before, fn));
  for (const warning of fn.warnings ?? []) out.note(`Warning: ${warning}`);
  const route = await routeOf(fn, { asked: options.route, isSite: built?.template?.serves_paths === true }, api);
  await ready(fn, api, signal);
  return { url: routeUrl(api.url, route).replace(/\/\*$/, "/"), function: fn, route, build: built?.build ?? null };
}

/** Returns the folder that is meant; undefined for an image. Throws a `ConfigError`. */
export async function directoryOf(source: string): Promise<string | undefined> {
  const found = await stat(source).catch(() => undefined);
  if (found?.isDirectory() === true) return resolve(source);
  if (found !== undefined) throw new ConfigError(`"${source}" is a file: name the folder that it is in, or an image`);
  if (/^(?:\.{0,2}\/|\.{1,2}$|~)|\/$/.test(source)) throw new ConfigError(`There is no folder "${source}"`);
  return undefined;
}

/** Returns what tells a folder from others of the same name; with `machine`, also from one of the same path elsewhere. */
export async function originOf(directory: string, machine = ""): Promise<string> {
  const path = await realpath(directory);
  return new Bun.CryptoHasher("sha256").update(`${machine}\0${path}`).digest("hex").slice(0, 16);
}

/** Returns a name made of that of a folder or of an image, without its registry and its tag. */
export function defaultName(source: string): string {
  const last = basename(source).replace(/[:@].*$/, "");
  const name = last
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  if (name !== "") return name;
  throw new ConfigError(`No name can be made of "${source}": give one with --name`);
}

/** Has a folder built. Throws a `DeployError` that names the failing step. */
async function buildFolder(
  options: DeployOptions & { readonly name: string },
  directory: string,
  api: ApiClient,
  out: DeployOutput,
): Promise<{ readonly build: Build; readonly image: string; readonly template: Template | undefined }> {
  const { name, dockerfile = DEFAULT_DOCKERFILE, target, build_args, no_cache, pull, signal } = options;
  const template = await chooseTemplate(directory, options);
  const extra = template === undefined ? {} : { ...template.files, [dockerfile]: template.dockerfile };
  if (template !== undefined)
    out.note(`No Dockerfile: building ${template.about} with the template "${template.name}"`);
  const left_out = template === undefined ? [] : NOT_FOR_IMAGES;
  await using packed = await packContext(directory, { dockerfile, left_out, extra });
  const size = Bun.file(packed.path).size;
  out.note(
    `Sending ${packed.files} ${packed.files === 1 ? "file" : "files"} (${Math.ceil(size / 1024)} KiB packed) to ${api.url}`,
  );
  const query = {
    name,
    dockerfile: options.dockerfile,
    target,
    build_args: build_args === undefined ? undefined : JSON.stringify(build_args),
    // Absent is the default, also of older servers.
    no_cache: no_cache === true ? true : undefined,
    pull: pull === true ? true : undefined,
  };
  const build = await buildImage(api, out, { query, path: packed.path, signal });
  if (build.image !== null) return { build, image: build.image, template };
  throw new DeployError(failureOf(build));
}

async function chooseTemplate(directory: string, { dockerfile }: DeployOptions): Promise<Template | undefined> {
  const names = await readdir(directory);
  if (dockerfile !== undefined || names.includes(DEFAULT_DOCKERFILE)) return undefined;
  const found = await templateFor({ names, read: (name) => readFile(join(directory, name), "utf8") });
  if (found !== undefined) return found;
  throw new ConfigError(
    `There is no Dockerfile in "${directory}", and nothing that a template knows (package.json, requirements.txt, go.mod, one ` +
      'script, index.html): add a Dockerfile, or begin with "slipway new NAME"',
  );
}

function failureOf({ id, status, step, error }: Build): string {
  if (status === "cancelled") return `The build ${id} was cancelled`;
  const where = step === null ? "" : ` in step ${step.number} of ${step.total} (${step.instruction})`;
  return `The build failed${where}: ${error ?? "the server does not say why"}`;
}

/** Returns the function of a name, if there is one. */
export async function functionNamed(api: ApiClient, name: string): Promise<Function | undefined> {
  try {
    return await api.data<Function>({ method: "GET", path: `/v1/functions/${encodeURIComponent(name)}` });
  } catch (error) {
    if (error instanceof ApiError && error.reason === "not_found") return undefined;
    throw error;
  }
}

function told(before: Function | undefined, after: Function): string {
  const name = after.name ?? after.id;
  if (before === undefined) return `Created the function "${name}"`;
  return before.version === after.version
    ? `The function "${name}" is up to date (version ${after.version})`
    : `Updated the function "${name}" to version ${after.version}`;
}

/** Returns the route of a function, and makes one if it has none, or not the one that was asked for. */
async function routeOf(
  fn: Function,
  { asked, isSite }: { readonly asked: string | undefined; readonly isSite: boolean },
  api: ApiClient,
): Promise<Route> {
  const routes = await api.data<Route[]>({ method: "GET", path: "/v1/routes" });
  const own = routes.filter((route) => route.function.id === fn.id);
  const path = asked === undefined ? undefined : asked.startsWith("/") ? asked : `/${asked}`;
  const found = path === undefined ? own[0] : own.find((route) => route.path === path);
  if (found !== undefined) return found;
  const isServer = fn.contract === "http";
  const wanted = path ?? `/${fn.name ?? fn.id}${isServer || isSite ? "/*" : ""}`;
  const other = routes.find((route) => route.path === wanted);
  if (other !== undefined) {
    throw new DeployError(
      `The path ${wanted} leads to the function "${other.function.name ?? other.function.id}" already: choose another with --route`,
    );
  }
  // A web server knows its own methods: the API's default for it is all of them.
  const methods = isServer ? undefined : isSite ? ["GET"] : ["GET", "POST"];
  return api.data<Route>({ method: "POST", path: "/v1/routes", body: { path: wanted, function_id: fn.id, methods } });
}

/** Waits until an instance of a function is ready, if there are to be any before its first call. */
async function ready(fn: Function, api: ApiClient, signal: AbortSignal): Promise<void> {
  const end = performance.now() + READY_MS;
  while (performance.now() < end) {
    const { pool } = await api.data<FunctionWithPool>({ method: "GET", path: `/v1/functions/${fn.id}`, signal });
    if (pool.problem !== undefined) throw new DeployError(`The function does not start: ${pool.problem}`);
    if (pool.ready >= Math.min(1, pool.target)) return;
    await Bun.sleep(LOOK_MS);
  }
  throw new DeployError(
    `The function was not ready within ${READY_MS / 1000} s: "slipway show ${fn.name ?? fn.id}" says more`,
  );
}
