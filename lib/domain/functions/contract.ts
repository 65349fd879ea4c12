import { quoted } from "../quoted.ts";
import { BOOT_TIMEOUT_MS, CONCURRENCY } from "../limits.ts";

/** The ways in which functions are spoken to (lib/docs/contracts.md). */
export const CONTRACTS = ["files", "stdio", "http", "lambda"] as const;
export type ContractName = (typeof CONTRACTS)[number];

/** The contracts whose functions are started before they are called: each instance is a container with one running program. */
export const BOOTED_CONTRACTS = ["http", "lambda"] as const satisfies readonly ContractName[];

/** Returns whether functions of a contract are started before they are called. */
export function isBooted(contract: ContractName): contract is (typeof BOOTED_CONTRACTS)[number] {
  return contract === "http" || contract === "lambda";
}

/** The forms of what a function of the contract `stdio` prints: a body, or headers and a body. */
export const OUTPUTS = ["raw", "cgi"] as const;
export type Output = (typeof OUTPUTS)[number];

/** The freedom of the processes of an instance that is started before its call, between two calls: none at all, or all. */
export const IDLES = ["freeze", "run"] as const;
export type Idle = (typeof IDLES)[number];

/**
 * The origins of a function's contract: its own setting, its image's label, another sign of the image (detection.ts), a trial in
 * which it ended instead of listening, or nothing, which is `files`.
 */
export const CONTRACT_REASONS = [
  "setting",
  "label",
  "watchdog",
  "lambda_runtime",
  "web_adapter",
  "buildpack",
  "functions_framework",
  "port_variable",
  "exposed_port",
  "ended",
  "default",
] as const;
export type ContractReason = (typeof CONTRACT_REASONS)[number];

/** The origins of the port of a function of the contract `http`. */
export const PORT_REASONS = ["setting", "label", "variable", "exposed", "default"] as const;
export type PortReason = (typeof PORT_REASONS)[number];

/** The contract, and the settings that belong to one contract alone. */
export interface ContractSettings {
  readonly contract: ContractName;
  readonly content_type: string | null;
  readonly output: Output;
  readonly stream: boolean;
  readonly port: number | null;
  readonly ready_path: string | null;
  readonly boot_timeout_ms: number;
  readonly concurrency: number;
  readonly idle_timeout_ms: number | null;
  readonly idle: Idle | null;
  readonly buffer_request: boolean;
}

export const CONTRACT_DEFAULTS: ContractSettings = {
  contract: "files",
  content_type: null,
  output: "raw",
  stream: false,
  port: null,
  ready_path: null,
  boot_timeout_ms: BOOT_TIMEOUT_MS.default,
  concurrency: CONCURRENCY.default,
  idle_timeout_ms: null,
  idle: null,
  buffer_request: false,
};

type OwnedSetting = Exclude<keyof ContractSettings, "contract">;

/** The contracts that each of the settings belongs to; the first is the usual one. */
const OWNERS: Readonly<Record<OwnedSetting, readonly [ContractName, ...ContractName[]]>> = {
  content_type: ["stdio"],
  output: ["stdio"],
  stream: ["stdio"],
  port: ["http"],
  ready_path: ["http"],
  boot_timeout_ms: BOOTED_CONTRACTS,
  concurrency: ["http"],
  idle_timeout_ms: BOOTED_CONTRACTS,
  idle: BOOTED_CONTRACTS,
  buffer_request: ["http"],
};
// Object.keys forgets the type of the keys.
const OWNED = Object.keys(OWNERS) as readonly OwnedSetting[];

/** Returns what follows from a contract for the settings that a request leaves out: what belongs to another one goes. */
export function contractAfter(
  contract: ContractName,
  given: Partial<ContractSettings>,
): Partial<Omit<ContractSettings, "contract">> {
  const gone = OWNED.filter((name) => !OWNERS[name].includes(contract) && given[name] === undefined);
  return Object.fromEntries(gone.map((name) => [name, CONTRACT_DEFAULTS[name]])); // each its own default
}

/** Returns the contract that the other settings of a request belong to, if they do. */
export function contractOf(given: Partial<ContractSettings>): ContractName | undefined {
  const owned = OWNED.find((name) => !isDefault(name, given));
  return owned && OWNERS[owned][0];
}

/** Returns those settings that belong to a contract alone. */
export function ownedBy(contract: ContractName, settings: Partial<ContractSettings>): Partial<ContractSettings> {
  const own = OWNED.filter((name) => OWNERS[name].includes(contract) && settings[name] !== undefined);
  return Object.fromEntries(own.map((name) => [name, settings[name]])); // each its own value
}

const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
/** A media type with its parameters (RFC 9110, 8.3.1), in ASCII. */
const MEDIA_TYPE = new RegExp(`^${TOKEN}/${TOKEN}(?:[ \\t]*;[\\t -~]*)?$`);

/** The path and query of a request as they are sent: no space, no control character, no fragment. */
const REQUEST_TARGET = /^\/[!"$-~]*$/;

/** Returns the problem with the contract of a function, or nothing. */
export function contractProblem(settings: ContractSettings & { readonly max_calls: number }): string | undefined {
  const { contract, content_type, ready_path, concurrency, max_calls } = settings;
  if (content_type !== null && !MEDIA_TYPE.test(content_type)) {
    return `Invalid "content_type" ${quoted(content_type)}: give a media type such as "text/plain; charset=utf-8"`;
  }
  if (ready_path !== null && !REQUEST_TARGET.test(ready_path)) {
    return `Invalid "ready_path" ${quoted(ready_path)}: give a path that begins with "/", such as "/healthz", with other characters than ASCII percent-encoded`;
  }
  const foreign = OWNED.find((name) => !OWNERS[name].includes(contract) && !isDefault(name, settings));
  if (foreign !== undefined) {
    const owner = OWNERS[foreign].map((name) => quoted(name)).join(" or ");
    return `"${foreign}" belongs to the contract ${owner}, and the contract is ${quoted(contract)}: leave it out, or give the contract ${owner}`;
  }
  if (concurrency > 1 && max_calls === 1) {
    return `"concurrency" is ${concurrency}, and "max_calls" is 1, so that an instance serves a single call: give "max_calls" 0 for no limit, or leave "concurrency" out`;
  }
  return undefined;
}

/** Returns what a function that is started before its calls does between two of them. */
export function idleOf({ idle, max_calls }: { readonly idle: Idle | null; readonly max_calls: number }): Idle {
  return idle ?? (max_calls === 1 ? "freeze" : "run");
}

function isDefault(name: OwnedSetting, settings: Partial<ContractSettings>): boolean {
  return settings[name] === undefined || settings[name] === CONTRACT_DEFAULTS[name];
}
