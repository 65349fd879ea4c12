import { CONCURRENCY, HTTP_WARM_MAX, MAX_CONCURRENCY, MEMORY_BYTES, PORT, TIMEOUT_MS, WARM_MIN } from "../limits.ts";
import type { ManifestFunction } from "../manifest/manifest.ts";
import { cores, memoryBytes } from "../openfaas/quantities.ts";
import type { Part } from "./source.ts";
import { optional } from "./stack.ts";

/** The time limit of a request that a service file does not name: Knative's and Cloud Run's. */
const DEFAULT_TIMEOUT_S = 300;

/** Returns whether a document is a service of Knative or Cloud Run. */
export function isKnative(value: unknown): boolean {
  const { apiVersion, kind } = (value ?? {}) as { apiVersion?: unknown; kind?: unknown }; // both are checked
  return typeof apiVersion === "string" && apiVersion.startsWith("serving.knative.dev/") && kind === "Service";
}

/** Returns the function that a service is, under its name. Throws `invalid_request`. */
export function knativeFunction(service: Part): [name: string, fn: ManifestFunction] {
  service.at("apiVersion").take();
  service.at("kind").take();
  const name = service.at("metadata").at("name").text();
  if (name === undefined) throw service.wrong('a service with "metadata.name"');
  const template = service.at("spec").at("template");
  const spec = template.at("spec");
  const limit = spec.at("containerConcurrency").number() ?? 0;
  const concurrency = limit === 0 ? CONCURRENCY.max : Math.min(limit, CONCURRENCY.max);
  if (limit > CONCURRENCY.max)
    spec.at("containerConcurrency").note(`an instance serves ${CONCURRENCY.max} calls at once at most`);
  const seconds = spec.at("timeoutSeconds").number() ?? DEFAULT_TIMEOUT_S;
  const container = containerIn(spec.at("containers"));
  const fn: ManifestFunction = {
    contract: "http",
    // An instance of such a service serves any number of calls.
    max_calls: 0,
    concurrency,
    timeout_ms: Math.min(Math.max(seconds * 1_000, TIMEOUT_MS.min), TIMEOUT_MS.max),
    ...scaleOf(template.at("metadata").at("annotations"), concurrency),
    ...containerFields(container),
  };
  const labels = service.at("metadata").at("labels").map();
  return [name, Object.keys(labels).length === 0 ? fn : { ...fn, labels }];
}

/** Returns the container that takes the requests: the one with a port. The others stay unread, and so are listed. */
function containerIn(containers: Part): Part {
  const all = containers.parts().map(([, part]) => part);
  const found = all.find((part) => part.at("ports").isThere) ?? all[0];
  if (found === undefined) throw containers.wrong("a list with a container");
  return found;
}

function containerFields(container: Part): ManifestFunction {
  container.at("name").take();
  const image = container.at("image").text();
  if (image === undefined) throw container.wrong('a container with an "image"');
  const port = container.at("ports").at("0").at("containerPort").number() ?? PORT.default;
  const command = container.at("command").texts();
  const args = container.at("args").texts();
  const { environment, secrets } = variablesOf(container.at("env"));
  const limits = container.at("resources").at("limits");
  const memory = limits.at("memory").text();
  const cpu = limits.at("cpu").text();
  const bytes = memory === undefined ? undefined : memoryBytes(memory, { decimal: true });
  const processors = cpu === undefined ? undefined : cores(cpu);
  if (memory !== undefined && bytes === undefined) throw limits.at("memory").wrong("an amount such as 512Mi");
  if (cpu !== undefined && processors === undefined) throw limits.at("cpu").wrong("an amount such as 500m");
  const security = container.at("securityContext");
  return {
    image,
    port,
    ...(command.length > 0 && { entrypoint: command }),
    ...(args.length > 0 && { command: args }),
    ...(Object.keys(environment).length > 0 && { environment }),
    ...(secrets.length > 0 && { secrets }),
    ...optional("memory_bytes", bytes === undefined ? undefined : Math.max(bytes, MEMORY_BYTES.min)),
    ...optional("cpus", processors),
    ...optional("working_dir", container.at("workingDir").text()),
    ...optional("user", security.at("runAsUser").text()),
    ...optional("read_only", security.at("readOnlyRootFilesystem").flag()),
    ...optional("ready_path", readyPath(container, port)),
  };
}

/** Returns the path that is asked for before the first call: that of the readiness probe, or else of the startup probe. */
function readyPath(container: Part, port: number): string | undefined {
  for (const name of ["readinessProbe", "startupProbe"]) {
    const get = container.at(name).at("httpGet");
    if (!get.at("path").isThere) continue;
    if (get.at("port").isThere && get.at("port").peekedText === String(port)) get.at("port").take();
    return get.at("path").text();
  }
  return undefined;
}

function variablesOf(list: Part) {
  const environment: Record<string, string> = {};
  const secrets: { name: string; environment: string }[] = [];
  for (const [, part] of list.parts()) {
    const secret = part.at("valueFrom").at("secretKeyRef");
    // A variable that is taken from something else stays unread.
    if (part.at("valueFrom").isThere && !secret.isThere) continue;
    const name = part.at("name").text();
    if (name === undefined) throw part.wrong('a variable with a "name"');
    if (!secret.isThere) {
      environment[name] = part.at("value").text() ?? "";
      continue;
    }
    const of = secret.at("name").text() ?? "";
    const key = secret.at("key").text() ?? "";
    secrets.push({ name: of, environment: name });
    secret.note(`the variable ${name} gets the secret "${of}" as a whole${key === "" ? "" : `, not its key "${key}"`}`);
  }
  return { environment, secrets };
}

/** Reads the least and the most instances, under the names of Knative and of Cloud Run. */
function scaleOf(annotations: Part, concurrency: number): ManifestScale {
  const read = (names: readonly string[]) =>
    names
      .map((name) => annotations.at(`autoscaling.knative.dev/${name}`).number())
      .find((value) => value !== undefined);
  const least = read(["minScale", "min-scale"]);
  const most = read(["maxScale", "max-scale"]) ?? 0;
  const warm_min = least === undefined ? undefined : Math.min(least, WARM_MIN.max);
  return {
    ...optional("warm_min", warm_min),
    ...(warm_min !== undefined && warm_min > HTTP_WARM_MAX && { warm_max: warm_min }),
    // So many instances serve so many calls at once.
    ...(most > 0 && { max_concurrency: Math.min(most * concurrency, MAX_CONCURRENCY.max) }),
  };
}

type ManifestScale = Pick<ManifestFunction, "warm_min" | "warm_max" | "max_concurrency">;
