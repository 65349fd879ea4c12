import { AppError } from "../errors.ts";
import type { Environment } from "../environment.ts";
import { PORT } from "../limits.ts";
import type { ContractName, ContractReason, PortReason } from "./contract.ts";
import type { Settings } from "./settings.ts";

/** The parts of an image's configuration that say how its program is spoken to. */
export interface ImageSignals {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** Those of its variables that `SIGNAL_VARIABLES` names. */
  readonly variables: Readonly<Record<string, string>>;
  /** The TCP ports that it exposes, in ascending order. */
  readonly exposed_ports: readonly number[];
  /** The labels that begin with `slipway.`. */
  readonly labels: Readonly<Record<string, string>>;
}

/** The variables of an image that say something about its contract or its port. */
export const SIGNAL_VARIABLES = [
  "PORT",
  "port",
  "mode",
  "upstream_url",
  "fprocess",
  "function_process",
  "AWS_LWA_PORT",
  "FUNCTION_TARGET",
  "LAMBDA_TASK_ROOT",
] as const;
type Variables = { readonly [name in (typeof SIGNAL_VARIABLES)[number]]?: string };

/** The parts of a function that count besides its image. */
interface Own extends Partial<Pick<Settings, "entrypoint" | "command">> {
  readonly environment?: Environment;
}

/** The contract that an image's configuration shows: a decision, or the wish for a trial start that shows if it listens. */
export type Detected =
  | { readonly trial: false; readonly contract: ContractName; readonly reason: ContractReason }
  | { readonly trial: true; readonly reason: ContractReason; readonly ports: readonly number[] };

/** The result of a trial start: the function listens on its port, or it has ended before; `why` is in plain words. */
export type TrialEnd = { readonly listens: true } | { readonly listens: false; readonly why: string };

/** The programs that speak to AWS Lambda's Runtime API: the images that Lambda runs begin with one of them. */
const LAMBDA_PROGRAMS: ReadonlySet<string> = new Set([
  "lambda-entrypoint.sh",
  "aws-lambda-rie",
  "aws-lambda-ric",
  "awslambdaric",
  "aws_lambda_ric",
  "com.amazonaws.services.lambda.runtime.api.client.AWSLambda",
]);
const LAMBDA_BOOTSTRAP = "/var/runtime/bootstrap";

/**
 * Returns how an image without a label `slipway.contract` is spoken to (the table in lib/docs/contracts.md).
 */
export function detectContract(signals: ImageSignals, own: Own): Detected {
  const words = wordsOf(signals, own);
  const variables: Variables = signals.variables;
  const sure = (reason: ContractReason): Detected => ({ trial: false, contract: "http", reason });
  if (isWatchdog(words, variables)) return sure("watchdog");
  const lambda: Detected = { trial: false, contract: "lambda", reason: "lambda_runtime" };
  if (words.some((word) => LAMBDA_PROGRAMS.has(programOf(word)) || word === LAMBDA_BOOTSTRAP)) return lambda;
  if (variables.AWS_LWA_PORT !== undefined) return sure("web_adapter");
  const first = own.entrypoint ? own.entrypoint[0] : signals.entrypoint[0];
  if (first !== undefined && /^\/cnb\/(?:process\/|lifecycle\/launcher$)/.test(first)) return sure("buildpack");
  if (
    variables.FUNCTION_TARGET !== undefined ||
    words.some((word) => programOf(word).startsWith("functions-framework"))
  ) {
    return sure("functions_framework");
  }
  const { exposed_ports: ports } = signals;
  // A program that ends by itself is not a server, whatever its base image says of ports.
  if (variables.PORT !== undefined) return { trial: true, reason: "port_variable", ports };
  if (variables.LAMBDA_TASK_ROOT !== undefined) return lambda;
  return ports.length === 0
    ? { trial: false, contract: "files", reason: "default" }
    : { trial: true, reason: "exposed_port", ports };
}

/** The port of a function, what named it, and the further ports that must listen. */
export interface Ports {
  readonly port: number;
  readonly port_reason: Exclude<PortReason, "setting" | "label">;
  readonly extra_ports: number[];
}

/**
 * Returns the port of a function of the contract `http` that neither it nor a label names. Undefined if the image exposes
 * several ports, none of which is the usual one.
 */
export function portOf(signals: ImageSignals, own: Own): Pick<Ports, "port" | "port_reason"> | undefined {
  const variables: Variables = { ...signals.variables, ...own.environment };
  const watchdog = isWatchdog(wordsOf(signals, own), variables);
  const said = watchdog ? portIn(variables.port) : (portIn(variables.AWS_LWA_PORT) ?? portIn(variables.PORT));
  if (said !== undefined) return { port: said, port_reason: "variable" };
  const { exposed_ports: exposed } = signals;
  const [only] = exposed;
  if (watchdog || only === undefined) return { port: PORT.default, port_reason: "default" };
  if (exposed.length === 1) return { port: only, port_reason: "exposed" };
  return exposed.includes(PORT.default) ? { port: PORT.default, port_reason: "exposed" } : undefined;
}

/**
 * Returns the ports that must listen besides the function's own: OpenFaaS's watchdog listens at once, and the server behind it
 * a while later.
 */
export function extraPorts(signals: ImageSignals, own: Own): number[] {
  const variables: Variables = { ...signals.variables, ...own.environment };
  if (!isWatchdog(wordsOf(signals, own), variables) || variables.mode !== "http") return [];
  const upstream = variables.upstream_url ?? "";
  const url = /^https?:\/\//.test(upstream) ? upstream : `http://${upstream}`;
  const { protocol, port } = URL.parse(url) ?? {};
  const found = protocol === undefined ? undefined : (portIn(port) ?? (protocol === "https:" ? 443 : 80));
  return found === undefined ? [] : [found];
}

/** Returns whether a function's image was found to be one of OpenFaaS: by its signs, or by the port behind its watchdog. */
export function hasWatchdog({ contract, contract_reason, extra_ports }: WatchedFunction): boolean {
  return contract === "http" && (contract_reason === "watchdog" || extra_ports.length > 0);
}

interface WatchedFunction {
  readonly contract: ContractName;
  readonly contract_reason: ContractReason;
  readonly extra_ports: readonly number[];
}

/** Returns the error for an image whose ports do not say which one takes the requests. */
export function severalPorts(image: string, ports: readonly number[], missing: string): AppError {
  return new AppError(
    "invalid_request",
    `Image "${image}" exposes the ports ${ports.slice(0, PORTS_NAMED).join(", ")}${ports.length > PORTS_NAMED ? " and more" : ""}: ${missing}`,
  );
}

/** The most ports that a message names. */
const PORTS_NAMED = 8;

/** Returns the words of the whole command, also of one that a shell runs. */
function wordsOf(signals: ImageSignals, { entrypoint, command }: Own): string[] {
  const ofImage = entrypoint ? [] : signals.command;
  return [...(entrypoint ?? signals.entrypoint), ...(command ?? ofImage)].flatMap((part) => part.split(/\s+/));
}

function isWatchdog(words: readonly string[], { fprocess, function_process }: Variables): boolean {
  return (
    fprocess !== undefined || function_process !== undefined || words.some((word) => programOf(word) === "fwatchdog")
  );
}

function programOf(word: string): string {
  return word.slice(word.lastIndexOf("/") + 1);
}

function portIn(text: string | undefined): number | undefined {
  const port = text !== undefined && /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= PORT.min && port <= PORT.max ? port : undefined;
}
