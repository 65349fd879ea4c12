import { posix } from "node:path";
import { contractAfter, contractProblem, isBooted } from "./contract.ts";
import { AppError } from "../errors.ts";
import { isolationAfter, isolationProblem, scratchProblem } from "./isolation.ts";
import { quoted } from "../quoted.ts";
import { type GivenRetry, RETRY_DEFAULT } from "./retry.ts";
import { ISOLATED, SETTING_DEFAULTS, type Settings } from "./settings.ts";
import { COLLECTED_TIMEOUT_MS, COMMAND_BYTES, HTTP_WARM_MAX, LABELS, PORT } from "../limits.ts";
import { type GivenVolume, fullVolume, volumesProblem } from "./volumes.ts";

/** The prefix of our own labels, on containers and on images. */
export const OWN_LABELS = "slipway.";

/** The settings that a request gives. */
export type GivenSettings = Partial<Omit<Settings, "retry" | "volumes">> & {
  readonly retry?: GivenRetry;
  readonly volumes?: GivenVolume[];
};

/** The highest uid and gid that the engine takes. */
const HIGHEST_ID = 2 ** 31 - 1;
const ACCOUNT = /^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$/;

/** Returns settings as a request gives them with whole `retry` and `volumes`: fields that it leaves out have their defaults. */
export function fullSettings({ retry, volumes, ...given }: GivenSettings): Partial<Settings> {
  return {
    ...given,
    ...(retry !== undefined && { retry: { ...RETRY_DEFAULT, ...retry } }),
    ...(volumes !== undefined && { volumes: volumes.map(fullVolume) }),
  };
}

/** Returns the settings of a new function: from the request, else from the image's labels, else the defaults. */
export function settingsAtCreation(given: Partial<Settings>, ofImage: Partial<Settings>): Settings {
  const chosen = { ...ofImage, ...given };
  const asImage = { ...SETTING_DEFAULTS, ...ofImage, ...isolationAfter(SETTING_DEFAULTS, ofImage) };
  const contract = contractAfter(chosen.contract ?? SETTING_DEFAULTS.contract, given);
  const defaults = contractDefaults(SETTING_DEFAULTS, chosen);
  const settings = { ...asImage, ...defaults, ...given, ...isolationAfter(asImage, given), ...contract };
  if (settings.contract === "http") settings.port ??= ofImage.port ?? PORT.default;
  return settings.sandbox === "strict" ? { ...settings, ...strictly(chosen, SETTING_DEFAULTS) } : settings;
}

/**
 * Returns all changes of an update: the sandbox `strict` also sets the network and the root, which stay afterwards,
 * `isolation` and `max_calls` follow each other, and another contract takes away what only the one before has. A server always
 * has a port.
 */
export function settingsAfterChange(before: Settings, given: Partial<Settings>): Partial<Settings> {
  const { contract, port } = { ...before, ...given };
  const becomesStrict = given.sandbox === "strict" && before.sandbox !== "strict";
  return {
    ...given,
    ...isolationAfter(before, given),
    ...contractDefaults(before, given),
    ...(given.contract !== undefined && contractAfter(given.contract, given)),
    ...(contract === "http" && port === null && { port: PORT.default }),
    ...(becomesStrict && strictly(given, before)),
  };
}

/**
 * Returns the settings whose defaults depend on whether the function is started before its calls, if that changes: instances that listen before
 * their call are on the network where nobody else reaches them, and fewer of them wait. `isolated` stays if the contract is
 * changed back.
 */
function contractDefaults(before: Settings, given: Partial<Settings>): Partial<Settings> {
  const contract = given.contract ?? before.contract;
  if (isBooted(contract) === isBooted(before.contract)) return {};
  const [from, to] = isBooted(contract)
    ? [SETTING_DEFAULTS.warm_max, HTTP_WARM_MAX]
    : [HTTP_WARM_MAX, SETTING_DEFAULTS.warm_max];
  const warm_min = given.warm_min ?? before.warm_min;
  return {
    ...(given.warm_max === undefined && before.warm_max === from && { warm_max: Math.max(to, warm_min) }),
    ...(isBooted(contract) &&
      given.network === undefined &&
      before.network === SETTING_DEFAULTS.network && { network: ISOLATED }),
  };
}

/** The settings on which it depends whether an engine can make a function's cells. */
const CELL_FIELDS = ["isolation", "runtime", "sandbox", "read_only"] as const satisfies readonly (keyof Settings)[];

/**
 * Returns what the engine is asked about the cells of a new or changed function: nothing without them, or if they are as they
 * were. An engine that has changed since keeps no one from changing something else.
 */
export function cellsToCheck(before: Settings | undefined, after: Settings): Partial<Settings> {
  if (after.isolation !== "cell" || CELL_FIELDS.every((field) => before?.[field] === after[field])) return {};
  return Object.fromEntries(CELL_FIELDS.map((field) => [field, after[field]])); // each has its own value
}

/** Returns the settings that `strict` implies, so that the record shows them: a read-only root, and no network unless named. */
function strictly(given: Partial<Settings>, before: Settings): Partial<Settings> {
  return {
    ...(given.network === undefined && before.network === SETTING_DEFAULTS.network && { network: "none" }),
    ...(given.read_only === undefined && { read_only: true }),
  };
}

/** Returns whether a `user`, or an image's USER, is root by number or name. */
export function isRoot(user: string): boolean {
  const [account = ""] = user.split(":");
  // Number("") is also 0: an image that names no user runs as root.
  return account === "root" || Number(account) === 0;
}

/** Throws `invalid_request` for settings that the schema allows but that are impossible or contradict each other. */
export function checkSettings(settings: Settings): void {
  for (const check of CHECKS) {
    const problem = check(settings);
    if (problem !== undefined) throw new AppError("invalid_request", problem);
  }
}

const CHECKS: readonly ((settings: Settings) => string | undefined)[] = [
  warmProblem,
  contextProblem,
  isolationProblem,
  scratchProblem,
  ({ entrypoint }) => commandProblem("entrypoint", entrypoint),
  ({ command }) => commandProblem("command", command),
  firstWordProblem,
  userProblem,
  directoryProblem,
  contractProblem,
  timeoutProblem,
  sharedNetworkProblem,
  networkProblem,
  readOnlyProblem,
  ({ volumes, sandbox }) => volumesProblem(volumes, sandbox),
  labelsProblem,
];

function warmProblem({ warm_min, warm_max }: Settings): string | undefined {
  if (warm_min <= warm_max) return undefined;
  return `"warm_min" is ${warm_min} and "warm_max" only ${warm_max}: raise the one or lower the other`;
}

function contextProblem({ context_bytes, memory_bytes }: Settings): string | undefined {
  if (context_bytes === null || context_bytes < memory_bytes) return undefined;
  return `"context_bytes" is ${context_bytes} and "memory_bytes", which it counts as, only ${memory_bytes}: lower the one or raise the other`;
}

function commandProblem(name: "entrypoint" | "command", words: readonly string[] | null): string | undefined {
  const at = words?.findIndex((word) => !isText(word)) ?? -1;
  if (at !== -1) return `Invalid "${name}/${at}": it contains ${NOT_TEXT}, which no process can receive`;
  const bytes = words?.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0) ?? 0;
  return bytes > COMMAND_BYTES ? `"${name}" has ${bytes} bytes: at most ${COMMAND_BYTES} are allowed` : undefined;
}

/** Checks the entrypoint only: with one, the command is its arguments, which may be empty. */
function firstWordProblem({ entrypoint }: Settings): string | undefined {
  return entrypoint?.[0] === ""
    ? 'Invalid "entrypoint/0": it is empty: name a program, or give [] for no entrypoint'
    : undefined;
}

function userProblem({ user, sandbox }: Settings): string | undefined {
  if (user === null) return undefined;
  const parts = user.split(":");
  const wrong = parts.length > 2 || parts.some((part) => !ACCOUNT.test(part) || Number(part) > HIGHEST_ID);
  if (wrong) {
    return `Invalid "user" ${quoted(user)}: give "user", "uid", "user:group" or "uid:gid", with numbers up to ${HIGHEST_ID}`;
  }
  return sandbox === "strict" && isRoot(user)
    ? `The sandbox "strict" has no root user, and "user" is ${quoted(user)}: give another user, null for the image's own, or the sandbox "default"`
    : undefined;
}

function directoryProblem({ working_dir }: Settings): string | undefined {
  if (working_dir === null) return undefined;
  const head = `Invalid "working_dir" ${quoted(working_dir)}: `;
  if (!working_dir.startsWith("/")) return `${head}it must be an absolute path`;
  if (!isText(working_dir)) return `${head}it contains ${NOT_TEXT}`;
  // Its descriptors let a container escape on engines with an old runc (CVE-2024-21626).
  return /^\/proc(\/|$)/.test(posix.normalize(working_dir)) ? `${head}it must not be below /proc` : undefined;
}

function timeoutProblem({ contract, timeout_ms }: Settings): string | undefined {
  if (contract === "http" || timeout_ms <= COLLECTED_TIMEOUT_MS) return undefined;
  return (
    `"timeout_ms" is ${timeout_ms}, and a function of the contract ${quoted(contract)} may run for ${COLLECTED_TIMEOUT_MS} ms at most: ` +
    'lower it; a server that streams its answers can have the contract "http"'
  );
}

function sharedNetworkProblem({ contract, share_network }: Settings): string | undefined {
  if (!isBooted(contract) || !share_network) return undefined;
  const why = contract === "http" ? "all listen on the same port" : "all find their calls at the same port";
  return `"share_network" is true, and instances of the contract ${quoted(contract)} ${why}: leave it out, or give false`;
}

function networkProblem({ network }: Settings): string | undefined {
  const remedy = 'use "bridge", "isolated", "none" or the name of one of the engine\'s networks';
  if (network === "host") return `"network" cannot be "host": a function never joins the host's network; ${remedy}`;
  if (network === "default") return '"network" cannot be "default": use "bridge", which it stands for';
  if (/^(?:container|ns|service):/.test(network)) {
    return `"network" cannot be ${quoted(network)}: a function never joins another container's network; ${remedy}`;
  }
  return isText(network) ? undefined : `Invalid "network": it contains ${NOT_TEXT}; ${remedy}`;
}

function readOnlyProblem({ sandbox, read_only }: Settings): string | undefined {
  return sandbox === "strict" && !read_only
    ? '"read_only" is false, but the sandbox "strict" has a read-only root: leave it out, or give the sandbox "default"'
    : undefined;
}

function labelsProblem({ labels }: Settings): string | undefined {
  for (const [key, value] of Object.entries(labels)) {
    if (key === "") return 'Invalid "labels": a key is empty: give every label a name';
    if (key.startsWith(OWN_LABELS)) {
      return `Invalid "labels": ${quoted(key)} begins with "${OWN_LABELS}", which is reserved: choose another name`;
    }
    if (key.length > LABELS.key_length) {
      return `Invalid "labels": the key ${quoted(key)} has ${key.length} characters: at most ${LABELS.key_length} are allowed`;
    }
    if (!isText(key) || /\s/.test(key))
      return `Invalid "labels": the key ${quoted(key)} contains a space or ${NOT_TEXT}`;
    if (!isText(value)) return `Invalid "labels": the value of ${quoted(key)} contains ${NOT_TEXT}`;
  }
  return undefined;
}

const NOT_TEXT = "a NUL character or half of a surrogate pair";

function isText(value: string): boolean {
  return value.isWellFormed() && !value.includes("\0");
}
