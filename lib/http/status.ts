import { Elysia, t } from "elysia";
import type { StatusService } from "../services/status.ts";
import type { Metrics } from "../metrics.ts";
import type { Access } from "./access.ts";
import { errorDetails } from "./openapi.ts";

const Check = t.Object({
  ok: t.Boolean(),
  problem: t.Nullable(t.String({ description: "The cause and the mend." })),
});
const Readiness = t.Object({ ready: t.Boolean(), engine: Check, database: Check });

/** `GET /healthz` and `GET /readyz`: for whoever restarts the server, and for whoever sends it traffic. */
export function healthRoutes(status: StatusService) {
  return new Elysia({ tags: ["status"] })
    .get("/healthz", () => ({ status: "ok" as const }), {
      response: { 200: t.Object({ status: t.Literal("ok") }) },
      detail: { operationId: "health", summary: "The server runs" },
    })
    .get(
      "/readyz",
      async ({ set }) => {
        const readiness = await status.readiness();
        if (!readiness.ready) set.status = 503;
        return readiness;
      },
      {
        response: { 200: Readiness, 503: Readiness },
        detail: { operationId: "readiness", summary: "The server can run functions: engine and database work" },
      },
    );
}

/** `GET /metrics` in Prometheus form. */
export function metricsRoutes(metrics: Metrics, access: Access) {
  return new Elysia({ tags: ["status"] }).get(
    "/metrics",
    async ({ request, server }) => {
      access(request, server);
      const { text, contentType } = await metrics.render();
      return new Response(text, { headers: { "Content-Type": contentType } });
    },
    {
      detail: {
        operationId: "metrics",
        summary: "Figures in Prometheus form",
        responses: {
          200: { description: "Prometheus text format.", content: { "text/plain": { schema: { type: "string" } } } },
          ...errorDetails(401, 403, 421),
        },
      },
    },
  );
}
