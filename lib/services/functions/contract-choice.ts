import type { Environment } from "../../domain/environment.ts";
import { AppError } from "../../domain/errors.ts";
import { type ContractName, contractOf, type ContractReason } from "../../domain/functions/contract.ts";
import {
  detectContract,
  extraPorts,
  type ImageSignals,
  portOf,
  severalPorts,
  type TrialEnd,
} from "../../domain/functions/detection.ts";
import type { Function, Origins } from "../../domain/functions/functions.ts";
import { checkSettings } from "../../domain/functions/rules.ts";
import type { Settings } from "../../domain/functions/settings.ts";
import { settingsOfLabels } from "../../domain/images/labels.ts";

/** Starts a function once as a server, and says whether it listens. Throws if the engine cannot start it now. */
export type TrialBoot = (fn: Function) => Promise<TrialEnd>;

/** A function whose contract is to be chosen. */
export interface Undecided {
  readonly image: string;
  readonly signals: ImageSignals;
  readonly given: Partial<Settings>;
  readonly environment: Environment;
  /** The function as it is, if it keeps its image: it then also keeps what the image has said. */
  readonly kept?: Function | undefined;
  /** Returns the function as it would be with these settings of its image; undefined where nothing may be started. */
  readonly with: ((ofImage: Partial<Settings>) => Function) | undefined;
  /** The contract that is assumed where nothing may be started. */
  readonly likely?: ContractName | undefined;
}

/** The contract of a function and its ports: what its image gives, and where each comes from. */
export interface Choice {
  /** The settings that the image gives, its contract and its port among them. */
  readonly ofImage: Partial<Settings>;
  readonly origins: Origins;
  /** The reason why the image is not taken for a server although it may be one; only after a trial. */
  readonly warning?: string;
}

type Chosen = Pick<Settings, "contract"> & {
  readonly contract_reason: ContractReason;
  readonly warning?: string;
};

/**
 * Chooses how a function is spoken to: as its request says, else as a label or another sign of its image says, else as a trial
 * shows. Throws `image_invalid` for labels that are wrong and images that no contract fits, and `invalid_request` for an image that
 * leaves open which of its ports is meant.
 */
export async function chooseContract(asked: Undecided, trialBoot: TrialBoot | undefined): Promise<Choice> {
  const { image, signals, given, environment } = asked;
  const labels = settingsOfLabels(image, signals.labels);
  const { contract, contract_reason, ...warned } = await contractFor(asked, labels, trialBoot);
  const ofImage = { ...labels, ...(given.contract === undefined && { contract }) };
  if (contract !== "http") {
    return { ofImage, origins: { contract_reason, port_reason: null, extra_ports: [] }, ...warned };
  }
  const own = { ...given, environment };
  const extra_ports = extraPorts(signals, own);
  const known = portGiven(given, labels);
  if (known !== undefined) return { ofImage, origins: { contract_reason, port_reason: known, extra_ports } };
  const found = portOf(signals, own);
  if (found === undefined)
    throw severalPorts(image, signals.exposed_ports, 'give as "port" the one that takes requests');
  const { port, port_reason } = found;
  return { ofImage: { ...ofImage, port }, origins: { contract_reason, port_reason, extra_ports } };
}

async function contractFor(
  asked: Undecided,
  labels: Partial<Settings>,
  trialBoot: TrialBoot | undefined,
): Promise<Chosen> {
  const { image, signals, given, environment, kept } = asked;
  if (given.contract !== undefined) return { contract: given.contract, contract_reason: "setting" };
  if (labels.contract !== undefined) return { contract: labels.contract, contract_reason: "label" };
  if (kept !== undefined && kept.contract_reason !== "setting" && kept.contract_reason !== "label") {
    return { contract: kept.contract, contract_reason: kept.contract_reason };
  }
  const own = { ...given, environment };
  const detected = detectContract(signals, own);
  if (!detected.trial) return { contract: detected.contract, contract_reason: detected.reason };
  const files: Chosen = { contract: "files", contract_reason: "default" };
  if (asked.with === undefined) return { ...files, contract: asked.likely ?? contractOf(given) ?? "files" };
  const known = portGiven(given, labels) !== undefined;
  const port = known ? undefined : portOf(signals, own)?.port;
  const blind = !known && port === undefined;
  const candidate = asked.with({
    ...labels,
    contract: "http",
    ...(port !== undefined && { port }),
    ...(blind && { port: signals.exposed_ports[0] ?? null }),
  });
  if (trialBoot === undefined || !isPossible(candidate)) return files;
  const end = await trialBoot({ ...candidate, extra_ports: [] });
  if (!end.listens) return { contract: "files", contract_reason: "ended", warning: notAServer(end.why) };
  if (blind)
    throw severalPorts(image, signals.exposed_ports, 'give "contract" and, for "http", the "port" that takes requests');
  return { contract: "http", contract_reason: detected.reason };
}

function notAServer(why: string): string {
  return `The contract is "files", as the image did not listen in its trial: ${why}. If it is a server, give "contract": "http"`;
}

/**
 * Returns the settings that a function's image gives. The contract is not among them if only a trial, or the function's own
 * setting, can say it.
 */
export function settingsOfSignals(signals: ImageSignals, fn: Function): Partial<Settings> {
  const labels = settingsOfLabels(fn.image, signals.labels);
  const detected = detectContract(signals, fn);
  const contract = labels.contract ?? (detected.trial ? undefined : detected.contract);
  const port = labels.port ?? (fn.contract === "http" ? portOf(signals, fn)?.port : undefined);
  return { ...labels, ...(contract !== undefined && { contract }), ...(port !== undefined && { port }) };
}

/** Returns what a function makes of an image, or nothing if the image is not valid. */
export function unlessInvalid<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof AppError && error.reason === "image_invalid") return undefined;
    throw error;
  }
}

/** Returns what named the port, if the request or a label does. */
function portGiven(given: Partial<Settings>, labels: Partial<Settings>): "setting" | "label" | undefined {
  if (given.port !== undefined && given.port !== null) return "setting";
  return labels.port === undefined || labels.port === null ? undefined : "label";
}

/** Returns whether a function could have the contract `http` with its other settings: one that could not needs no trial. */
function isPossible(candidate: Function): boolean {
  try {
    checkSettings(candidate);
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}
