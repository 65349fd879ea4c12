import { Type, type Static, type TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AppError } from "../errors.ts";
import { CreateFunction, FUNCTION_DEFAULTS } from "../functions/functions.ts";
import type { GivenSettings } from "../functions/rules.ts";
import { FunctionName } from "../functions/settings.ts";
import { CPUS, HTTP_WARM_MAX, MEMORY_BYTES, TIMEOUT_MS, WARM_MAX, WARM_MIN } from "../limits.ts";
import { cores, durationMs, memoryBytes } from "./quantities.ts";
import { quoted } from "../quoted.ts";
import { SecretName } from "../secrets.ts";
import { expectation } from "../schema-words.ts";
import { Nullable } from "../types.ts";
import { labelsOf, type Notes } from "./labels.ts";

/** The one namespace. */
export const NAMESPACE = "openfaas-fn";

function texts(description: string) {
  return Type.Optional(
    Nullable(
      Type.Unsafe<Record<string, string>>(Type.Object({}, { additionalProperties: Type.String(), description })),
    ),
  );
}

function list(item: TSchema, description: string) {
  return Type.Optional(Nullable(Type.Unsafe<string[]>(Type.Array(item, { description }))));
}

function resources(description: string) {
  return Type.Optional(
    Nullable(
      Type.Object(
        {
          memory: Type.Optional(Type.String({ description: "Such as `128Mi`.", examples: ["128Mi"] })),
          cpu: Type.Optional(Type.String({ description: "Such as `100m`, a tenth of a core.", examples: ["100m"] })),
        },
        { description },
      ),
    ),
  );
}

/** The body of `POST` and `PUT /system/functions`, as `faas-cli` sends it: with `null` for a map that is empty. */
export const FunctionDeployment = Type.Object({
  service: Type.String({ description: "The name of the function.", examples: ["figlet"] }),
  image: CreateFunction.properties.image,
  namespace: Type.Optional(Type.String({ description: `\`${NAMESPACE}\` is the only one.`, examples: [NAMESPACE] })),
  envProcess: Type.Optional(Type.String({ description: "The command of the watchdog: its variable `fprocess`." })),
  envVars: texts("Variables for the function's process."),
  constraints: list(Type.String(), "Kept and given back; nothing follows from them."),
  secrets: list(SecretName, "The names of secrets, which the function finds as files."),
  labels: texts("Labels. `com.openfaas.scale.min` is the number of instances that are kept ready."),
  annotations: texts("Kept and given back. `topic: cron-function` with `schedule` makes a schedule."),
  limits: resources("The most that the function may use."),
  requests: resources("Kept and given back; nothing follows from them."),
  readOnlyRootFilesystem: Type.Optional(Type.Boolean({ description: "Mount the root filesystem read-only." })),
});
export type FunctionDeployment = Static<typeof FunctionDeployment>;

/** A function as a deployment describes it. */
export interface Deployed {
  readonly name: string;
  readonly body: CreateFunction;
}

/** The times at which a function is called by the clock. */
export interface CronAnnotation {
  readonly cron: string;
  readonly timezone: string;
}

/** The settings that a deployment can give, and has when it says nothing of them. */
type Reset = Pick<GivenSettings, "memory_bytes" | "cpus" | "timeout_ms" | "read_only" | "warm_min" | "warm_max">;

/**
 * Returns the function that a deployment describes. `before` has the notes of the deployment before it: what that gave and this one
 * does not is set back to its default. Throws `invalid_request`.
 */
export function functionOf(deployment: FunctionDeployment, before?: Notes): Deployed {
  const { service, image, envProcess = "", envVars, labels, annotations, secrets } = deployment;
  checkName(service);
  checkNamespace(deployment.namespace);
  const variables = { ...envVars, ...(envProcess !== "" && { fprocess: envProcess }) };
  const given: Reset = {
    ...limitsOf(deployment),
    ...timeoutOf(variables),
    ...(deployment.readOnlyRootFilesystem === true && { read_only: true }),
    ...scaleOf(labels ?? {}),
  };
  // Object.keys forgets the type of the keys.
  const names = Object.keys(given) as (keyof Reset)[];
  const dropped = before?.given.filter((name) => !names.some((own) => own === name)) ?? [];
  const notes: Notes = {
    annotations: annotations ?? {},
    requests: deployment.requests ?? {},
    constraints: deployment.constraints ?? [],
    given: names,
  };
  const body = {
    image,
    ...Object.fromEntries(Object.entries(RESET).filter(([name]) => dropped.includes(name))),
    ...given,
    environment: variables,
    secrets: (secrets ?? []).map((name) => ({ name, environment: null })),
    labels: labelsOf(labels ?? {}, notes),
  };
  return { name: service, body };
}

const { memory_bytes, cpus, timeout_ms, read_only, warm_min } = FUNCTION_DEFAULTS;
const RESET: Reset = { memory_bytes, cpus, timeout_ms, read_only, warm_min };

/** Returns the schedule that annotations ask for, as OpenFaaS's cron connector reads them. Throws `invalid_request`. */
export function scheduleOf(annotations: Readonly<Record<string, string>>): CronAnnotation | undefined {
  const { topic = "", schedule, timezone = "UTC" } = annotations;
  const topics = topic.split(",").map((one) => one.trim());
  if (!topics.includes("cron-function")) return undefined;
  if (schedule !== undefined) return { cron: schedule, timezone };
  throw new AppError(
    "invalid_request",
    'The annotation "topic" is "cron-function", and there is no annotation "schedule": add one such as "*/5 * * * *"',
  );
}

/** Throws `not_found` for another namespace than the only one; an absent or empty one is that. */
export function checkNamespace(namespace: string | undefined): void {
  if (namespace === undefined || namespace === "" || namespace === NAMESPACE) return;
  throw new AppError("not_found", `No namespace ${quoted(namespace)}: "${NAMESPACE}" is the only one; leave it out`);
}

function checkName(service: string): void {
  if (Value.Check(FunctionName, service)) return;
  throw new AppError(
    "invalid_request",
    `Invalid "service" ${quoted(service)}: it must be ${expectation(FunctionName)}`,
  );
}

/** Reads limits. Less than a function can have becomes the least that it can. */
function limitsOf({ limits }: FunctionDeployment): Reset {
  const { memory = "", cpu = "" } = limits ?? {};
  const bytes =
    memory === "" ? undefined : (memoryBytes(memory, { decimal: true }) ?? refuse("memory", memory, "128Mi"));
  const processors = cpu === "" ? undefined : (cores(cpu) ?? refuse("cpu", cpu, "100m"));
  return {
    ...(bytes !== undefined && { memory_bytes: Math.max(bytes, MEMORY_BYTES.min) }),
    ...(processors !== undefined && { cpus: Math.max(processors, CPUS.min) }),
  };
}

function refuse(name: string, value: string, example: string): never {
  throw new AppError(
    "invalid_request",
    `Invalid "limits/${name}" ${quoted(value)}: give an amount such as "${example}"`,
  );
}

/** Returns the time limit that a watchdog is given by its variables: ours must not be sooner. */
function timeoutOf({ exec_timeout, write_timeout }: Readonly<Record<string, string>>): Reset {
  const ms = durationMs(exec_timeout ?? write_timeout ?? "") ?? 0;
  return ms === 0 ? {} : { timeout_ms: Math.min(Math.max(ms, TIMEOUT_MS.min), TIMEOUT_MS.max) };
}

function scaleOf(labels: Readonly<Record<string, string>>): Reset {
  const text = labels["com.openfaas.scale.min"] ?? "";
  if (!/^\d{1,6}$/.test(text)) return {};
  const warm_min = Math.min(Number(text), WARM_MIN.max);
  // Fewer than by default are never asked for.
  return { warm_min, ...(warm_min > HTTP_WARM_MAX && { warm_max: Math.max(warm_min, WARM_MAX.default) }) };
}
