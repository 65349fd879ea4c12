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
import type { Access } from "./access/access.ts";
import { resultRoutes, replayRoutes, workRoutes } from "./api/async-invocations.ts";
import { createBodyReader } from "./wire/body.ts";
import { invokeRoutes } from "./calls/invoke.ts";
import { callbackRetryRoutes, callbackRoutes, callbackSecretRoutes } from "./api/callbacks.ts";
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
import { createIntakes, type Reception } from "./access/guard.ts";
import { callRoutes } from "./calls/route.ts";
import { routesRoutes } from "./api/routes.ts";
import { schedulesRoutes } from "./api/schedules.ts";
import { secretsRoutes } from "./api/secrets.ts";
import { healthRoutes, metricsRoutes } from "./api/status.ts";
import { Submissions } from "./calls/submit.ts";
import { versionsRoutes } from "./api/versions.ts";

/** What the API is made of. */
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
  readonly access: Access;
  readonly clock: Clock;
  readonly log: Logger;
  readonly request_bytes: number;
  readonly idle_timeouts: IdleTimeouts;
  readonly version: string;
}

/** The whole HTTP API. */
export function createApp(services: AppServices): AnyElysia {
  const {
    functions,
    routes,
    secrets,
    invocations,
    results,
    status,
    metrics,
    clock,
    log,
    request_bytes,
    idle_timeouts,
  } = services;
  const server = () => app.server;
  const { watch, unwatch } = watching(server, idle_timeouts);
  const readBody = createBodyReader({ clock, unwatch, body_ms: idle_timeouts.body_ms });
  const access: Reception["access"] = (request, needs) => services.access(request, app.server, needs);
  const intake = createIntakes({ access, unwatch, readBody });
  // The scopes of keys, of which each part asks for one: to read, and to change.
  const deploying = intake({ read: ["deploy", "read"], write: ["deploy"] });
  const observing = intake({ read: ["read"], write: ["admin"] });
  const invoking = intake({ read: ["invoke"], write: ["invoke"] });
  const administrating = intake({ read: ["admin"], write: ["admin"] });
  const anyKey = intake({ read: SCOPES, write: ["admin"] });
  // Made when it is first needed: a hook at the beginning of every request would cost it 0.5 us.
  const requestId: RequestId = ({ headers }) => String((headers["x-request-id"] ??= clock.uuid()));
  const submissions = new Submissions(services);
  const calls = { invocations, submissions, readBody, requestId, server, request_bytes };
  const app: AnyElysia = new Elysia({ normalize: false, handler: { standardHostname: false } })
    .mapResponse({ as: "global" }, ({ request, set }) => {
      watch(request);
      requestId(set);
    })
    .use(errorHandler({ log, watch, requestId, allowed: (path) => allowedMethods(app.routes, path) }))
    .use(functionsRoutes(functions, deploying, { clock, log, requestId }))
    .use(versionsRoutes(services.versions, deploying))
    .use(routesRoutes(routes, deploying))
    .use(secretsRoutes(secrets, deploying))
    .use(registriesRoutes(services.registries, deploying))
    .use(manifestRoutes(services.manifests, deploying))
    .use(invocationsRoutes(invocations, results, observing))
    .use(resultRoutes(results, { clock, requestId }, observing))
    .use(workRoutes(services, invoking))
    .use(callbackRoutes(services.callbacks, observing))
    .use(callbackRetryRoutes(services, invoking))
    .use(callbackSecretRoutes(services.callbackSecrets, administrating))
    .use(replayRoutes(services.replays, invoking))
    .use(schedulesRoutes(services.schedules, deploying))
    .use(invokeRoutes(functions, invoking, calls))
    .use(callRoutes(routes, { ...calls, access, log, metrics, rates: new RateLimits(clock) }))
    .use(keysRoutes(services.keys, administrating))
    .use(metricsRoutes(metrics, observing))
    .use(healthRoutes(status))
    .use(docsRoutes(() => openApiDocument(app.routes, services.version), anyKey))
    .use(manualRoutes(anyKey, services.version));
  return app;
}
