import { type AnyElysia, Elysia } from "elysia";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { FunctionService } from "../services/functions.ts";
import type { InvocationService } from "../services/invocations.ts";
import type { RouteService } from "../services/routes.ts";
import type { StatusService } from "../services/status.ts";
import type { Access } from "./access.ts";
import { createBodyReader } from "./body.ts";
import { callRoutes, invokeRoutes } from "./calls.ts";
import { docsRoutes } from "./docs.ts";
import { errorHandler, type RequestId } from "./errors.ts";
import { functionsRoutes } from "./functions.ts";
import { invocationsRoutes } from "./invocations.ts";
import { allowedMethods } from "./methods.ts";
import { openApiDocument } from "./openapi.ts";
import { type Patience, watching } from "./patience.ts";
import type { Intake } from "./resource.ts";
import { routesRoutes } from "./routes.ts";
import { healthRoutes, metricsRoutes } from "./status.ts";

/** What the API is made of. */
export interface AppServices {
  readonly functions: FunctionService;
  readonly routes: RouteService;
  readonly invocations: InvocationService;
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
  const { functions, routes, invocations, status, metrics, access, clock, log, request_bytes, patience } = services;
  const { watch, unwatch } = watching(() => app.server, patience);
  const readBody = createBodyReader({ clock, unwatch, body_ms: patience.body_ms });
  const intake: Intake = { access: (request) => access(request, app.server), unwatch, readBody };
  // Made when it is first needed: a hook at the beginning of every request would cost it 0.5 us.
  const requestId: RequestId = ({ headers }) => String((headers["x-request-id"] ??= clock.uuid()));
  const calls = { invocations, readBody, requestId, request_bytes };
  const app: AnyElysia = new Elysia({ normalize: false, handler: { standardHostname: false } })
    .mapResponse({ as: "global" }, ({ request, set }) => {
      watch(request);
      requestId(set);
    })
    .use(errorHandler({ log, watch, requestId, allowed: (path) => allowedMethods(app.routes, path) }))
    .use(functionsRoutes(functions, intake))
    .use(routesRoutes(routes, intake))
    .use(invocationsRoutes(invocations, intake))
    .use(invokeRoutes(functions, intake, calls))
    .use(callRoutes(routes, calls))
    .use(metricsRoutes(metrics, intake))
    .use(healthRoutes(status))
    .use(docsRoutes(() => openApiDocument(app.routes, services.version), intake.access));
  return app;
}
