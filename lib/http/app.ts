import { type AnyElysia, Elysia, NotFoundError } from "elysia";
import type { Clock } from "../clock.ts";
import { SCOPES } from "../domain/keys.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { BuildService } from "../services/builds/builds.ts";
import type { CallbackSecrets } from "../services/callbacks/signing-secrets.ts";
import type { CallbackService } from "../services/callbacks/callbacks.ts";
import type { ResultService } from "../services/calls/results.ts";
import type { FunctionService } from "../services/functions/functions.ts";
import type { IdempotentCalls } from "../services/calls/idempotent-calls.ts";
import type { InvocationService } from "../services/calls/invocations.ts";
import type { AuditService } from "../services/access/audit.ts";
import type { KeyService } from "../services/access/keys.ts";
import type { ManifestService } from "../services/functions/manifest.ts";
import type { Queue } from "../services/work/queue.ts";
import type { RegistryService } from "../services/images/registries.ts";
import type { ReplayService } from "../services/work/replays.ts";
import type { RouteService } from "../services/functions/routes.ts";
import type { Freshness } from "../services/cluster/freshness.ts";
import type { AnnotatedSchedules } from "../services/work/annotated-schedules.ts";
import type { ScheduleService } from "../services/work/schedules.ts";
import type { Tracing } from "../services/tracing/tracing.ts";
import { HOP_PATH } from "../services/cluster/hop-signature.ts";
import { OUTPUT_PATH, type SharedOutput } from "../services/cluster/shared-output.ts";
import type { ReceivedHops } from "../services/cluster/received-hops.ts";
import type { SecretService } from "../services/secrets/secrets.ts";
import type { StatsService } from "../services/calls/stats.ts";
import type { StatusService } from "../services/status.ts";
import type { SystemService } from "../services/system.ts";
import type { VersionService } from "../services/functions/versions.ts";
import type { SessionService } from "../services/access/sessions.ts";
import type { AccessCheck, KeyCheck } from "./access/access.ts";
import { type ClientAddress, type ClientUsesTls, clientOf } from "./access/client-address.ts";
import { OpenStreams } from "./access/open-streams.ts";
import { createBodyReader } from "./wire/body.ts";
import { invokeRoutes } from "./calls/invoke.ts";
import { auditRoutes } from "./api/audit.ts";
import { buildsRoutes } from "./api/builds/builds.ts";
import { callbackSecretRoutes, functionSecretRoutes } from "./api/callbacks.ts";
import { docsRoutes } from "./openapi/swagger-ui.ts";
import { manualRoutes } from "./docs/routes.ts";
import { COMPLETE } from "./wire/envelope.ts";
import { answeringErrors, type ErrorForm, errorHandler, refusing, type RequestId } from "./wire/errors.ts";
import { functionsRoutes } from "./api/functions.ts";
import { fetchOf, type Serving, servingOf } from "./front/serving.ts";
import { invocationsRoutes } from "./api/invocations.ts";
import { functionLogsRoutes } from "./api/functions/logs.ts";
import { keysRoutes } from "./api/keys.ts";
import { manifestRoutes } from "./api/manifest.ts";
import { AWS_CREDENTIALS } from "./aws/wire/credentials.ts";
import { AWS_ERRORS, awsRoutes } from "./aws/routes.ts";
import { OPENFAAS_ERRORS } from "./openfaas/errors.ts";
import { openfaasRoutes } from "./openfaas/routes.ts";
import { allowedMethods } from "./wire/allowed-methods.ts";
import { openApiDocument } from "./openapi/document.ts";
import { createUploads } from "./calls/upload.ts";
import { type IdleTimeouts, watching } from "./wire/idle-timeouts.ts";
import { type BodyMemory, readerWithin } from "./calls/body-memory.ts";
import type { SlowReaders } from "./wire/slow-readers.ts";
import type { RateLimits } from "./calls/rate-limits.ts";
import { registriesRoutes } from "./api/registries.ts";
import { checkGuarded, createGuards } from "./access/guard.ts";
import { hopRoutes } from "./calls/hop.ts";
import { outputRoutes } from "./calls/output.ts";
import { hostRoutes } from "./calls/host.ts";
import { callRoutes } from "./calls/route.ts";
import { routesRoutes } from "./api/routes.ts";
import { rawPathRoutes } from "./wire/raw-paths.ts";
import { schedulesRoutes } from "./api/schedules.ts";
import { secretsRoutes } from "./api/secrets.ts";
import { statsRoutes } from "./api/stats/stats.ts";
import { healthRoutes, metricsRoutes, publicHealthRoutes } from "./api/status.ts";
import { systemRoutes } from "./api/system/system.ts";
import { Submissions } from "./calls/submit.ts";
import { UI_OPEN, uiRoutes } from "./ui/routes.ts";
import { versionsRoutes } from "./api/versions.ts";

/** The services behind the API, and its other dependencies. */
export interface AppServices {
  readonly functions: FunctionService;
  readonly versions: VersionService;
  readonly routes: RouteService;
  readonly secrets: SecretService;
  readonly registries: RegistryService;
  readonly manifests: ManifestService;
  readonly invocations: InvocationService;
  readonly idempotentCalls: IdempotentCalls;
  readonly results: ResultService;
  readonly queue: Queue;
  readonly checkCallbackUrl: (url: string) => void;
  readonly callbacks: CallbackService;
  readonly callbackSecrets: CallbackSecrets;
  readonly replays: ReplayService;
  readonly schedules: ScheduleService;
  readonly annotatedSchedules: AnnotatedSchedules;
  readonly keys: KeyService;
  readonly stats: StatsService;
  readonly status: StatusService;
  readonly system: SystemService;
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  readonly access: AccessCheck;
  readonly checkKey: KeyCheck;
  readonly sessions: SessionService;
  readonly clientAddress: ClientAddress;
  readonly clientUsesTls: ClientUsesTls;
  readonly audit: AuditService;
  readonly clock: Clock;
  readonly log: Logger;
  /** The callers that routes have counted, on all openStreams. */
  readonly rates: RateLimits;
  readonly freshness: Freshness;
  /** Undefined without other servers. */
  readonly receivedHops: ReceivedHops | undefined;
  readonly sharedOutput: SharedOutput | undefined;
  readonly builds: BuildService;
  readonly request_bytes: number;
  readonly build_bytes: number;
  readonly idle_timeouts: IdleTimeouts;
  readonly slowReaders: SlowReaders;
  readonly bodyMemory: BodyMemory;
  readonly version: string;
}

/** Paths that anyone may call. Each route below `/r` may require a key, and what another server sends needs a signature. */
const OPEN = ["/r/*", "/healthz", "/readyz", HOP_PATH, OUTPUT_PATH, ...UI_OPEN];

/** The errors of other platforms' APIs. */
const ERROR_FORMS = [AWS_ERRORS, OPENFAAS_ERRORS];

// The scopes for each need: one of a list is enough, and `admin` always is.
const DEPLOYING = { read: ["deploy", "read"], write: ["deploy"] } as const;
const CALLING = { read: ["read"], write: ["invoke"] } as const;
const AS_AWS = { ...DEPLOYING, invoke: ["invoke"], other: SCOPES } as const;
const ADMINISTERING = { read: ["admin"], write: ["admin"] } as const;

/** An app, and what is served of it. */
export interface ServedApp extends Serving {
  readonly app: AnyElysia;
}

/** Creates the whole HTTP API. */
export function createApp(services: AppServices): ServedApp {
  const { functions, routes, metrics } = services;
  const nowhere = "No such path: GET /docs has the manual, GET /swagger the API, and functions are called below /r";
  const { base, guard, tools, calls, raw } = begin(services, () => app, { nowhere, forms: ERROR_FORMS });
  const app: AnyElysia = base
    .use(functionsRoutes(guard("/v1/functions", DEPLOYING), functions, tools))
    .use(versionsRoutes(guard("/v1/functions", DEPLOYING), services.versions))
    .use(invokeRoutes(guard("/v1/functions", { invoke: ["invoke"] }), functions, calls))
    .use(functionLogsRoutes(guard("/v1/functions", { logs: ["read"] }), tools))
    .use(functionSecretRoutes(guard("/v1/functions", { secret: ["deploy"] }), services))
    .use(routesRoutes(guard("/v1/routes", DEPLOYING), routes))
    .use(secretsRoutes(guard("/v1/secrets", DEPLOYING), services.secrets))
    .use(registriesRoutes(guard("/v1/registries", DEPLOYING), services.registries))
    .use(buildsRoutes(guard("/v1/builds", DEPLOYING), services))
    .use(manifestRoutes(guard("/v1", DEPLOYING), services.manifests))
    .use(schedulesRoutes(guard("/v1/schedules", DEPLOYING), services.schedules))
    .use(invocationsRoutes(guard("/v1/invocations", CALLING), tools))
    .use(statsRoutes(guard("/v1/stats", { read: ["read"] }), services.stats))
    .use(callbackSecretRoutes(guard("/v1/callbacks/secret", ADMINISTERING), services.callbackSecrets))
    .use(keysRoutes(guard("/v1/keys", ADMINISTERING), services.keys))
    .use(auditRoutes(guard("/v1/audit", { read: ["admin"] }), services.audit))
    .use(systemRoutes(guard("/v1/system", { read: ["read"] }), services.system))
    .use(metricsRoutes(guard("/metrics", { read: ["read"] }), metrics))
    .use(docsRoutes(guard("/swagger", { read: SCOPES }), () => openApiDocument(app.routes, services.version)))
    .use(manualRoutes(guard("/docs", { read: SCOPES }), services.version))
    .use(uiRoutes(guard("/ui/session", { read: SCOPES }), tools))
    .use(openfaasRoutes(guard, { ...calls, ...tools }))
    .use(callRoutes(routes, calls))
    .use(hopRoutes(services.receivedHops, calls))
    .use(outputRoutes(services.sharedOutput, { ...calls, clock: services.clock }))
    .use(awsRoutes(guard("", AS_AWS, AWS_CREDENTIALS), calls))
    .use(healthRoutes(services.status));
  checkGuarded(app.routes, OPEN);
  return { app, ...servingOf(app, raw) };
}

/** Creates the part of the HTTP API that is for everyone: the routes of functions, and the health of the server. */
export function createPublicApp(services: AppServices): ServedApp {
  // A path of another platform's API is unknown here like any other.
  const nowhere = "No such path: functions are called below /r";
  const { base, calls, raw } = begin(services, () => app, { nowhere, forms: [] });
  const app: AnyElysia = base.use(callRoutes(services.routes, calls)).use(publicHealthRoutes(services.status));
  return { app, ...servingOf(app, raw) };
}

/**
 * Moves the headers of `set` to a response, whose own take precedence. Elysia would make a second response, with a stream of
 * the first one's body.
 */
function takeHeaders({ headers }: Response, set: { headers: Record<string, string | number> }): void {
  for (const name in set.headers) if (!headers.has(name)) headers.set(name, String(set.headers[name]));
  set.headers = {};
}

/** Begins an app with what every answer and every error has, and makes the tools of its resources. */
function begin(
  services: AppServices,
  app: () => AnyElysia,
  { nowhere, forms }: { readonly nowhere: string; readonly forms: readonly ErrorForm[] },
) {
  const { clock, log, request_bytes, idle_timeouts, bodyMemory } = services;
  const server = () => app().server;
  const { watch, unwatch } = watching(server, idle_timeouts);
  const clientOfRequest = (request: Request) => clientOf(services.clientAddress(request, server()) ?? "");
  const readBody = createBodyReader({ clock, unwatch, stall_ms: idle_timeouts.stall_ms });
  const beginUpload = createUploads({ clock, unwatch, stall_ms: idle_timeouts.stall_ms });
  // Made when it is first needed: a hook at the beginning of every request would cost 0.5 us each.
  const requestId: RequestId = ({ headers }) => String((headers["x-request-id"] ??= clock.invocationId()));
  const allowed = (path: string) => allowedMethods(app().routes, path);
  const answerError = answeringErrors({ log, watch, requestId, allowed, nowhere, forms });
  const dispatch = (request: Request) => fetchOf(app())(request);
  const submissions = new Submissions(services);
  const calls = { ...services, submissions, readBody, beginUpload, requestId, server, request_bytes };
  const hosts = hostRoutes(services.routes, { ...calls, watch });
  const isForHost = (request: Request) => hosts.isFor(request) || hosts.mayBeNew(request);
  const base = new Elysia({ normalize: false, handler: { standardHostname: false } })
    // Around all handlers, those that Elysia gives to Bun directly among them.
    .wrap((next, request) => (hosts.isFor(request) ? hosts.answer : next))
    .mapResponse({ as: "global" }, ({ request, set, responseValue }) => {
      watch(request);
      if (set.headers !== COMPLETE) {
        requestId(set);
        if (responseValue instanceof Response) takeHeaders(responseValue, set);
      }
    })
    .use(
      errorHandler((error, request, set) =>
        error instanceof NotFoundError && hosts.mayBeNew(request)
          ? hosts.answerNew(request, () => answerError(error, request, set))
          : answerError(error, request, set),
      ),
    );
  return {
    base,
    guard: createGuards({
      ...services,
      server,
      unwatch,
      readBody: readerWithin(bodyMemory, readBody, clientOfRequest),
    }),
    tools: { ...services, requestId, server, openStreams: new OpenStreams() },
    calls,
    raw: rawPathRoutes({ nowhere, dispatch, isForHost, refuse: refusing(answerError) }),
  };
}
