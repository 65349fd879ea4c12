import type { Config } from "../config/config.ts";
import { type AppServices, createApp, createPublicApp } from "../http/app.ts";
import { RateLimits } from "../http/calls/rate-limits.ts";
import { BodyMemory } from "../http/calls/body-memory.ts";
import { STATUS_OF } from "../http/wire/status-of.ts";
import { SlowReaders } from "../http/wire/slow-readers.ts";
import type { AnnotatedSchedules } from "../services/work/annotated-schedules.ts";
import type { TracingSettings } from "../services/tracing/settings.ts";
import type { Glossary } from "../services/tracing/spans.ts";
import { startTracing } from "../services/tracing/start.ts";
import { VERSION } from "../version.ts";
import { createAccess } from "./access.ts";
import { createBuilds } from "./images/builds.ts";
import { createCallbacks } from "./callbacks.ts";
import type { createCluster } from "./cluster/cluster.ts";
import { createCalls } from "./calls.ts";
import { Metrics } from "../metrics.ts";
import type { Capability, ServerTools, Tools } from "./capability.ts";
import { createCatalogue } from "./catalogue.ts";
import type { Data } from "./data.ts";
import { createPlatform, type RunnerLinks } from "./platform.ts";
import { createProcess } from "./process.ts";
import type { Apps } from "./ports/listen.ts";
import { createWork } from "./work.ts";

/** A server that was put together and not started. */
export interface Composition extends Apps {
  readonly slowReaders: SlowReaders;
  /** In the order in which they are prepared, started and drained. */
  readonly capabilities: readonly Capability[];
}

/** Puts a server together. */
export async function compose(shared: ServerTools, data: Data): Promise<Composition> {
  const { config, log, clock, stack } = shared;
  const metrics = new Metrics();
  const glossary: Glossary = {
    nameOf: (id) => data.store.functions.get(id)?.name ?? id,
    statusOf: (reason) => STATUS_OF[reason],
  };
  // First, so that it is the last one to be released: the last calls are exported, too.
  const tracing = await startTracing(tracingSettings(config), { clock, log, metrics, stack, glossary });
  const tools: Tools = { ...shared, metrics, tracing };
  // The runner is made first, and calls services that are made with it.
  const links: RunnerLinks = {
    credentialsFor: (host) => catalogue.services.registries.credentialsFor(host),
    allCredentials: () => catalogue.services.registries.allCredentials(),
    retention: () => catalogue.services.retention,
    onImageRenamed: (renamed) => catalogue.services.functions.imageRenamed(renamed),
    onSwept: () => work.services.worker.swept(),
    onRoom: () => work.services.worker.wake(),
    secretsFor: (fn) => catalogue.services.secrets.valuesFor(fn),
    members: () => cluster.services.members,
  };
  const platform = await createPlatform(tools, data, links);
  const onBuiltRemoved = () => builds.services.builds.sweepSoon();
  const annotatedSchedules: Pick<AnnotatedSchedules, "check" | "follow"> = {
    check: (labels) => work.services.annotatedSchedules.check(labels),
    follow: (change) => work.services.annotatedSchedules.follow(change),
  };
  const catalogue = createCatalogue(tools, data, { ...platform.services, annotatedSchedules, onBuiltRemoved });
  const bodyMemory = stack.use(new BodyMemory({ clock, budget: config.bodyMemory }));
  const forOthers = () => calls.services;
  const cluster = await createSharing(tools, data, { ...platform.services, ...catalogue.services, calls: forOthers });
  const { members, hops, receivedHops, sharedOutput, others } = cluster.services;
  const calls = createCalls(tools, data, { ...platform.services, ...catalogue.services, bodyMemory, hops });
  const callbacks = createCallbacks(tools, data);
  const services = { ...platform.services, ...catalogue.services, ...calls.services, ...callbacks.services };
  const work = createWork(tools, data, { ...services, bodyMemory, others });
  const serverCount = () => members?.living ?? 1;
  const access = createAccess(tools, data, { ...services, serverCount });
  const builds = createBuilds(tools, data, { ...platform.services, ...catalogue.services });
  const serverProcess = createProcess(tools, data, { ...services, ...builds.services, bodyMemory, members });
  const idle_timeouts = { keep_alive_ms: config.keepAliveMs, stall_ms: config.stallTimeoutMs };
  const slowReaders = stack.use(new SlowReaders({ clock, timeouts: idle_timeouts }));
  const appServices: AppServices = {
    ...services,
    ...work.services,
    ...access.services,
    ...builds.services,
    ...serverProcess.services,
    checkCallbackUrl: (url) => services.followers.checkCallbackUrl(url),
    metrics,
    tracing,
    clock,
    log,
    receivedHops,
    sharedOutput,
    rates: new RateLimits(clock, serverCount),
    request_bytes: config.maxRequestBytes,
    build_bytes: config.buildBytes,
    idle_timeouts,
    bodyMemory,
    slowReaders,
    version: VERSION,
  };
  return {
    app: createApp(appServices),
    publicApp: config.publicPort === null ? undefined : createPublicApp(appServices),
    slowReaders,
    capabilities: [cluster, calls, platform, catalogue, builds, work, callbacks, access, serverProcess],
  };
}

/** The part of a server that has its database for itself. */
const ALONE: Capability<Partial<ReturnType<typeof createCluster>["services"]>> = { services: {} };

/** Composes what servers that share a database have; it is loaded only then. */
async function createSharing(
  tools: Tools,
  { members: store, vault, store: { history, leftRecords: left } }: Data,
  links: Parameters<typeof createCluster>[2],
) {
  if (store === null || left === null) return ALONE;
  const { createCluster } = await import("./cluster/cluster.ts");
  return createCluster(tools, { vault, store, history, left }, links);
}

/** Returns where spans go; null if they are not exported. */
function tracingSettings(config: Config): TracingSettings | null {
  const { otelExporterOtlpEndpoint, otelExporterOtlpTracesEndpoint, otelResourceAttributes } = config;
  const url = otelExporterOtlpTracesEndpoint ?? (otelExporterOtlpEndpoint && belowEndpoint(otelExporterOtlpEndpoint));
  if (url === null) return null;
  return {
    url,
    headers: config.otelExporterOtlpHeaders,
    service_name: config.otelServiceName ?? otelResourceAttributes["service.name"] ?? "slipway",
    resource: otelResourceAttributes,
    sampler: config.otelTracesSampler,
    sampler_arg: config.otelTracesSamplerArg,
  };
}

/** Returns the URL for spans of a collector's endpoint: below its path, as OpenTelemetry's specification has it. */
function belowEndpoint(endpoint: string): string {
  const url = new URL(endpoint);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
  return url.href;
}
