import { hostname } from "node:os";
import { ConfigError } from "../../config/config.ts";
import { aborted } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { ApiClient } from "../api/api-client.ts";
import { CommandError, EXIT } from "../exit-codes.ts";
import type { DeployOutput } from "./build.ts";
import {
  defaultName,
  deploy,
  type Deployed,
  type DeployOptions,
  directoryOf,
  functionNamed,
  originOf,
} from "./deploy.ts";
import { FolderWatch } from "./folder-watch.ts";

/** The options of `slipway dev`. */
export interface DevOptions extends Omit<DeployOptions, "labels" | "no_cache" | "pull" | "abandon"> {
  /** Leaves the function and its routes on the server. */
  readonly keep?: boolean | undefined;
  /** Ends the development. */
  readonly signal: AbortSignal;
}

/** The output of a development. */
export interface DevOutput extends DeployOutput {
  /** A build has ended, for better or worse: what it has printed is whole. */
  built(): void;
  /** The function answers; `ms` is the time since the build began. */
  ready(deployed: Deployed, ms: number): void;
  failed(message: string): void;
}

/** The label of functions that were made by `slipway dev`: it says on which machine, and of which folder. */
const LABEL = "slipway-dev";
/** Its value before it said that. */
const UNKNOWN_ORIGIN = "true";
/** The end of the name of such a function. */
const SUFFIX = "-dev";
/** The longest name of a function. */
const NAME_LENGTH = 63;
/** The most paths that are named when they have changed. */
const NAMED = 3;
/** The longest time for removing the function at the end, in milliseconds. */
const REMOVAL_MS = 10_000;
/** The time until it is looked for again, in milliseconds. */
const LOOK_MS = 100;

/**
 * Builds a folder, registers it under a name for development, and does so again after each change until the signal aborts.
 * A build that fails is shown, and does not end it. Then the function is removed, with its routes.
 */
export async function develop(options: DevOptions, api: ApiClient, out: DevOutput): Promise<void> {
  const { source, keep, signal } = options;
  const directory = await directoryOf(source);
  if (directory === undefined) throw new ConfigError(`There is no folder "${source}"`);
  const name = options.name ?? developmentName(directory);
  const before = await functionNamed(api, name);
  if (before !== undefined && before.labels[LABEL] === undefined) throw notOurs(name);
  const origin = await originOf(directory, hostname());
  if (before !== undefined && ![origin, UNKNOWN_ORIGIN].includes(before.labels[LABEL] ?? "")) throw anothers(name);
  using watch = new FolderWatch(directory, options.dockerfile);
  const gone = new AbortController();
  let attempt: Promise<void> = Promise.resolve();
  try {
    // From here on every change counts, also one in the middle of a build.
    await watch.look();
    while (!signal.aborted) {
      attempt = deployOnce({ ...options, name, labels: { [LABEL]: origin }, abandon: gone.signal }, api, out);
      await Promise.race([attempt, aborted(signal)]);
      const paths = await watch.changed(signal);
      if (paths.length > 0) out.note(`Changed: ${listed(paths)}`);
    }
  } finally {
    let isRemoved = false;
    try {
      isRemoved = keep !== true && (await remove(name, attempt, api));
    } finally {
      gone.abort();
      await attempt;
    }
    if (isRemoved) out.note(`Removed the function "${name}" and its routes`);
  }
}

async function deployOnce(options: DeployOptions, api: ApiClient, out: DevOutput): Promise<void> {
  const began = performance.now();
  try {
    const deployed = await deploy(options, api, out);
    out.built();
    out.ready(deployed, performance.now() - began);
  } catch (error) {
    out.built();
    if (!options.signal.aborted) out.failed(messageOf(error));
  }
}

/** Removes the function, also one that is about to be created; returns whether there was one. */
async function remove(name: string, attempt: Promise<unknown>, api: ApiClient): Promise<boolean> {
  const end = performance.now() + REMOVAL_MS;
  let isOver = false;
  void attempt.finally(() => (isOver = true));
  for (;;) {
    const isLast = isOver || performance.now() > end;
    if (await removeNow(name, api)) return true;
    if (isLast) return false;
    await Bun.sleep(LOOK_MS);
  }
}

async function removeNow(name: string, api: ApiClient): Promise<boolean> {
  try {
    const found = await functionNamed(api, name);
    if (found?.labels[LABEL] === undefined) return false;
    const path = `/v1/functions/${found.id}`;
    await api.data<Function>({ method: "DELETE", path, query: { cascade: true }, timeout_ms: REMOVAL_MS });
    return true;
  } catch (error) {
    throw new CommandError(`The function "${name}" is not removed: ${messageOf(error)}`, EXIT.failed, { cause: error });
  }
}

function developmentName(directory: string): string {
  const name = defaultName(directory)
    .slice(0, NAME_LENGTH - SUFFIX.length)
    .replace(/-+$/, "");
  return name.endsWith(SUFFIX) ? name : name + SUFFIX;
}

function notOurs(name: string): ConfigError {
  return new ConfigError(
    `The function "${name}" was not made by slipway dev, which would remove it at the end: choose another name with --name`,
  );
}

function anothers(name: string): ConfigError {
  return new ConfigError(
    `The function "${name}" is that of another folder, or another machine, where slipway dev may run: choose another name with ` +
      `--name, or remove it with "slipway rm ${name} --cascade"`,
  );
}

function listed(paths: readonly string[]): string {
  const shown = paths.slice(0, NAMED).join(", ");
  return paths.length > NAMED ? `${shown} and ${paths.length - NAMED} more` : shown;
}
