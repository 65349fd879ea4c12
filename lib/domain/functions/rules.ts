import { posix } from "node:path";
import { AppError } from "../errors.ts";
import { SETTING_DEFAULTS, type Settings } from "./settings.ts";
import { COMMAND_BYTES, LABELS } from "../limits.ts";

/** Labels and image labels that begin so are ours. */
export const OWN_LABELS = "slipway.";

/** The highest uid and gid that the engine takes. */
const HIGHEST_ID = 2 ** 31 - 1;
const ACCOUNT = /^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$/;

/** What a new function has: what the body gives, else what its image's labels say, else the defaults. */
export function settingsAtCreation(given: Partial<Settings>, ofImage: Partial<Settings>): Settings {
  const said = { ...ofImage, ...given };
  const settings = { ...SETTING_DEFAULTS, ...said };
  return settings.sandbox === "strict" ? { ...settings, ...strictly(said, SETTING_DEFAULTS) } : settings;
}

/** What a change means for a function: the sandbox `strict` brings along what it stands for, and it stays afterwards. */
export function settingsAfterChange(before: Settings, given: Partial<Settings>): Partial<Settings> {
  const becomesStrict = given.sandbox === "strict" && before.sandbox !== "strict";
  return becomesStrict ? { ...given, ...strictly(given, before) } : given;
}

/** A record tells the truth: no network unless one was named, and a read-only root. */
function strictly(given: Partial<Settings>, before: Settings): Partial<Settings> {
  return {
    ...(given.network === undefined && before.network === SETTING_DEFAULTS.network && { network: "none" }),
    ...(given.read_only === undefined && { read_only: true }),
  };
}

/** Whether a `user`, or an image's USER, is root by its number or its name. */
export function isRoot(user: string): boolean {
  const [account = ""] = user.split(":");
  // An empty text is the number 0, too: an image that names no user runs as root.
  return account === "root" || Number(account) === 0;
}

/** Throws `invalid_request` for settings that the schema allows and that cannot be, or contradict each other. */
export function checkSettings(settings: Settings): void {
  for (const check of CHECKS) {
    const problem = check(settings);
    if (problem !== undefined) throw new AppError("invalid_request", problem);
  }
}

const CHECKS: readonly ((settings: Settings) => string | undefined)[] = [
  warmProblem,
  contextProblem,
  ({ entrypoint }) => commandProblem("entrypoint", entrypoint),
  ({ command }) => commandProblem("command", command),
  firstWordProblem,
  userProblem,
  directoryProblem,
  networkProblem,
  readOnlyProblem,
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
  if (at !== -1) return `Invalid "${name}/${at}": it contains ${UNTEXT}, which no process can receive`;
  const bytes = words?.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0) ?? 0;
  return bytes > COMMAND_BYTES ? `"${name}" has ${bytes} bytes: at most ${COMMAND_BYTES} are allowed` : undefined;
}

/** A command is the arguments where there is an entrypoint, and those may well be empty. */
function firstWordProblem({ entrypoint }: Settings): string | undefined {
  return entrypoint?.[0] === ""
    ? 'Invalid "entrypoint/0": it is empty: name the program to run, or give [] for no entrypoint'
    : undefined;
}

function userProblem({ user, sandbox }: Settings): string | undefined {
  if (user === null) return undefined;
  const parts = user.split(":");
  const wrong = parts.length > 2 || parts.some((part) => !ACCOUNT.test(part) || Number(part) > HIGHEST_ID);
  if (wrong) {
    return `Invalid "user" ${shown(user)}: give "user", "uid", "user:group" or "uid:gid", with numbers up to ${HIGHEST_ID}`;
  }
  return sandbox === "strict" && isRoot(user)
    ? `The sandbox "strict" has no root user, and "user" is ${shown(user)}: give another, null for the image's own, or the sandbox "default"`
    : undefined;
}

function directoryProblem({ working_dir }: Settings): string | undefined {
  if (working_dir === null) return undefined;
  const head = `Invalid "working_dir" ${shown(working_dir)}: `;
  if (!working_dir.startsWith("/")) return `${head}it must be an absolute path`;
  if (!isText(working_dir)) return `${head}it contains ${UNTEXT}`;
  // By the descriptors in there, engines with an old runc let a container out (CVE-2024-21626).
  return /^\/proc(\/|$)/.test(posix.normalize(working_dir)) ? `${head}it must not be below /proc` : undefined;
}

function networkProblem({ network }: Settings): string | undefined {
  const mend = 'use "bridge", "none" or the name of one of the engine\'s networks';
  if (network === "host") return `"network" cannot be "host": a function never joins the host's network; ${mend}`;
  if (network === "default") return '"network" cannot be "default": use "bridge", which is what it stands for';
  if (/^(?:container|ns|service):/.test(network)) {
    return `"network" cannot be ${shown(network)}: a function never joins another container's network; ${mend}`;
  }
  return isText(network) ? undefined : `Invalid "network": it contains ${UNTEXT}; ${mend}`;
}

function readOnlyProblem({ sandbox, read_only }: Settings): string | undefined {
  return sandbox === "strict" && !read_only
    ? '"read_only" is false, and the sandbox "strict" has a read-only root: leave it out, or give the sandbox "default"'
    : undefined;
}

function labelsProblem({ labels }: Settings): string | undefined {
  for (const [key, value] of Object.entries(labels)) {
    if (key === "") return 'Invalid "labels": a key is empty: give every label a name';
    if (key.startsWith(OWN_LABELS)) {
      return `Invalid "labels": ${shown(key)} begins with "${OWN_LABELS}", which is the server's own: choose another name`;
    }
    if (key.length > LABELS.key_length) {
      return `Invalid "labels": the key ${shown(key)} has ${key.length} characters: at most ${LABELS.key_length} are allowed`;
    }
    if (!isText(key) || /\s/.test(key)) return `Invalid "labels": the key ${shown(key)} contains a space or ${UNTEXT}`;
    if (!isText(value)) return `Invalid "labels": the value of ${shown(key)} contains ${UNTEXT}`;
  }
  return undefined;
}

const UNTEXT = "a NUL character or half of a surrogate pair";

function isText(value: string): boolean {
  return value.isWellFormed() && !value.includes("\0");
}

function shown(value: string): string {
  return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}...` : value);
}
