import { type AnyElysia, Elysia } from "elysia";
import type { Clock } from "../clock.ts";
import { SCOPES } from "../domain/keys.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { CallbackSecrets } from "../services/callbacks/signing-secrets.ts";
import type { CallbackService } from "../services/callbacks/callbacks.ts";
import type { ResultService } from "../services/calls/results.ts";
import type { FunctionService } from "../services/functions/functions.ts";
import type { InvocationService } from "../services/calls/invocations.ts";
import type { KeyService } from "../services/access/keys.ts";
import type { ManifestService } from "../services/functions/manifest.ts";
import type { Queue } from "../services/work/queue.ts";
import type { RegistryService } from "../services/images/registries.ts";
import type { ReplayService } from "../services/work/replays.ts";
import type { RouteService } from "../services/functions/routes.ts";
import type { ScheduleService } from "../services/work/schedules.ts";
import type { SecretService } from "../services/secrets/secrets.ts";
import type { StatusService } from "../services/status.ts";
import type { VersionService } from "../services/functions/versions.ts";
import type { AccessCheck } from "./access/access.ts";
import { createBodyReader } from "./wire/body.ts";
import { invokeRoutes } from "./calls/invoke.ts";
import { callbackSecretRoutes, functionSecretRoutes } from "./api/callbacks.ts";
import { docsRoutes } from "./openapi/swagger-ui.ts";
import { manualRoutes } from "./docs/routes.ts";
import { errorHandler, type RequestId } from "./wire/errors.ts";
import { functionsRoutes } from "./api/functions.ts";
import { invocationsRoutes } from "./api/invocations.ts";
import { keysRoutes } from "./api/keys.ts";
import { manifestRoutes } from "./api/manifest.ts";
import { allowedMethods } from "./wire/allowed-methods.ts";
import { openApiDocument } from "./openapi/document.ts";
import { type IdleTimeouts, watching } from "./wire/idle-timeouts.ts";
import { RateLimits } from "./calls/rate-limits.ts";
import { registriesRoutes } from "./api/registries.ts";
import { checkGuarded, createGuards } from "./access/guard.ts";
import { callRoutes } from "./calls/route.ts";
import { routesRoutes } from "./api/routes.ts";
import { schedulesRoutes } from "./api/schedules.ts";
import { secretsRoutes } from "./api/secrets.ts";
import { healthRoutes, metricsRoutes } from "./api/status.ts";
import { Submissions } from "./calls/submit.ts";
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
  readonly results: ResultService;
  readonly queue: Queue;
  readonly checkCallbackUrl: (url: string) => void;
  readonly callbacks: CallbackService;
  readonly callbackSecrets: CallbackSecrets;
  readonly replays: ReplayService;
  readonly schedules: ScheduleService;
  readonly keys: KeyService;
  readonly status: StatusService;
  readonly metrics: Metrics;
  readonly access: AccessCheck;
  readonly clock: Clock;
  readonly log: Logger;
  readonly request_bytes: number;
  readonly idle_timeouts: IdleTimeouts;
  readonly version: string;
}

/** Paths that anyone may call. Each route below `/r` may require a key. */
const OPEN = ["/r/*", "/healthz", "/readyz"];

// The scopes for each need: one of a list is enough, and `admin` always is.
const DEPLOYING = { read: ["deploy", "read"], write: ["deploy"] } as const;
const CALLING = { read: ["read"], write: ["invoke"] } as const;
const ADMINISTERING = { read: ["admin"], write: ["admin"] } as const;

/** Creates the whole HTTP API. */
export function createApp(services: AppServices): AnyElysia {
  const { functions, routes, metrics, access, clock, log, request_bytes, idle_timeouts } = services;
  const server = () => app.server;
  const { watch, unwatch } = watching(server, idle_timeouts);
  const readBody = createBodyReader({ clock, unwatch, stall_ms: idle_timeouts.stall_ms });
  const guard = createGuards({ access, server, unwatch, readBody });
  // Made when it is first needed: a hook at the beginning of every request would cost 0.5 us each.
  const requestId: RequestId = ({ headers }) => String((headers["x-request-id"] ??= clock.uuid()));
  const tools = { ...services, requestId };
  const submissions = new Submissions(services);
  const calls = { invocations: services.invocations, submissions, readBody, requestId, server, request_bytes };
  const app: AnyElysia = new Elysia({ normalize: false, handler: { standardHostname: false } })
    .mapResponse({ as: "global" }, ({ request, set }) => {
      watch(request);
      requestId(set);
    })
    .use(errorHandler({ log, watch, requestId, allowed: (path) => allowedMethods(app.routes, path) }))
    .use(functionsRoutes(guard("/v1/functions", DEPLOYING), functions, tools))
    .use(versionsRoutes(guard("/v1/functions", DEPLOYING), services.versions))
    .use(invokeRoutes(guard("/v1/functions", { invoke: ["invoke"] }), functions, calls))
    .use(functionSecretRoutes(guard("/v1/functions", { secret: ["deploy"] }), services))
    .use(routesRoutes(guard("/v1/routes", DEPLOYING), routes))
    .use(secretsRoutes(guard("/v1/secrets", DEPLOYING), services.secrets))
    .use(registriesRoutes(guard("/v1/registries", DEPLOYING), services.registries))
    .use(manifestRoutes(guard("/v1", DEPLOYING), services.manifests))
    .use(schedulesRoutes(guard("/v1/schedules", DEPLOYING), services.schedules))
    .use(invocationsRoutes(guard("/v1/invocations", CALLING), tools))
    .use(callbackSecretRoutes(guard("/v1/callbacks/secret", ADMINISTERING), services.callbackSecrets))
    .use(keysRoutes(guard("/v1/keys", ADMINISTERING), services.keys))
    .use(metricsRoutes(guard("/metrics", { read: ["read"] }), metrics))
    .use(docsRoutes(guard("/swagger", { read: SCOPES }), () => openApiDocument(app.routes, services.version)))
    .use(manualRoutes(guard("/docs", { read: SCOPES }), services.version))
    .use(callRoutes(routes, { ...calls, access, log, metrics, rates: new RateLimits(clock) }))
    .use(healthRoutes(services.status));
  checkGuarded(app.routes, OPEN);
  return app;
}
