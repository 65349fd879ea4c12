import { type AnyElysia, Elysia } from "elysia";
import type { Clock } from "../clock.ts";
import { SCOPES } from "../domain/keys.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { CallbackSecrets } from "../services/callback-secrets.ts";
import type { CallbackService } from "../services/callbacks.ts";
import type { FollowingService } from "../services/following.ts";
import type { FunctionService } from "../services/functions.ts";
import type { InvocationService } from "../services/invocations.ts";
import type { KeyService } from "../services/keys.ts";
import type { ManifestService } from "../services/manifest.ts";
import type { Queue } from "../services/queue.ts";
import type { RegistryService } from "../services/registries.ts";
import type { ReplayService } from "../services/replays.ts";
import type { RouteService } from "../services/routes.ts";
import type { ScheduleService } from "../services/schedules.ts";
import type { SecretService } from "../services/secrets.ts";
import type { StatusService } from "../services/status.ts";
import type { VersionService } from "../services/versions.ts";
import type { Access } from "./access.ts";
import { followingRoutes, replayRoutes, workRoutes } from "./async-invocations.ts";
import { createBodyReader } from "./body.ts";
import { invokeRoutes } from "./calls.ts";
import { callbackRetryRoutes, callbackRoutes, callbackSecretRoutes } from "./callbacks.ts";
import { docsRoutes } from "./docs.ts";
import { errorHandler, type RequestId } from "./errors.ts";
import { functionsRoutes } from "./functions.ts";
import { invocationsRoutes } from "./invocations.ts";
import { keysRoutes } from "./keys.ts";
import { manifestRoutes } from "./manifest.ts";
import { allowedMethods } from "./methods.ts";
import { openApiDocument } from "./openapi.ts";
import { type Patience, watching } from "./patience.ts";
import { RateLimits } from "./rate-limits.ts";
import { registriesRoutes } from "./registries.ts";
import { createIntakes, type Reception } from "./resource.ts";
import { callRoutes } from "./route-calls.ts";
import { routesRoutes } from "./routes.ts";
import { schedulesRoutes } from "./schedules.ts";
import { secretsRoutes } from "./secrets.ts";
import { healthRoutes, metricsRoutes } from "./status.ts";
import { Submissions } from "./submissions.ts";
import { versionsRoutes } from "./versions.ts";

/** What the API is made of. */
export interface AppServices {
  readonly functions: FunctionService;
  readonly versions: VersionService;
  readonly routes: RouteService;
  readonly secrets: SecretService;
  readonly registries: RegistryService;
  readonly manifests: ManifestService;
  readonly invocations: InvocationService;
  readonly following: FollowingService;
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
  readonly patience: Patience;
  readonly version: string;
}

/** The whole HTTP API. */
export function createApp(services: AppServices): AnyElysia {
  const { functions, routes, secrets, invocations, following, status, metrics, clock, log, request_bytes, patience } =
    services;
  const server = () => app.server;
  const { watch, unwatch } = watching(server, patience);
  const readBody = createBodyReader({ clock, unwatch, body_ms: patience.body_ms });
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
    .use(invocationsRoutes(invocations, following, observing))
    .use(followingRoutes(following, { clock, requestId }, observing))
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
    .use(docsRoutes(() => openApiDocument(app.routes, services.version), anyKey));
  return app;
}
