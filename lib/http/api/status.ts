import { Elysia, t } from "elysia";
import type { StatusService } from "../../services/status.ts";
import type { Metrics } from "../../metrics.ts";
import { REQUEST_ID_HEADER } from "../openapi/errors.ts";
import { errorDetails } from "../openapi/operation.ts";
import { type Guard, resource } from "../access/guard.ts";

const Check = t.Object({
  ok: t.Boolean({ examples: [true] }),
  problem: t.Nullable(t.String({ description: "The cause and the mend." })),
});
const READINESS = { ready: t.Boolean(), engine: Check, database: Check };
const Ready = t.Object(READINESS, { description: "It can." });
const NotReady = t.Object(READINESS, {
  description: "It cannot, for the `problem` that is named.",
  examples: [
    {
      ready: false,
      engine: {
        ok: false,
        problem:
          "The Docker Engine cannot be reached (ping): its socket does not exist. Start it, or point DOCKER_HOST at it.",
      },
      database: { ok: true, problem: null },
    },
  ],
});

/** `GET /healthz` and `GET /readyz`: for whoever restarts the server, and for whoever sends it traffic. */
export function healthRoutes(status: StatusService) {
  return new Elysia({ tags: ["status"] })
    .get("/healthz", () => ({ status: "ok" as const }), {
      response: { 200: t.Object({ status: t.Literal("ok") }, { description: "It does." }) },
      detail: { operationId: "health", summary: "Whether the server runs", security: [] },
    })
    .get(
      "/readyz",
      async ({ set }) => {
        const readiness = await status.readiness();
        if (!readiness.ready) set.status = 503;
        return readiness;
      },
      {
        response: { 200: Ready, 503: NotReady },
        detail: {
          operationId: "readiness",
          summary: "Whether the server can run functions",
          description: "Asks the engine and the database.",
          security: [],
        },
      },
    );
}

/** `GET /metrics` in Prometheus form. */
export function metricsRoutes(guard: Guard<"read">, metrics: Metrics) {
  return resource(guard, "status").get(
    "/",
    async () => {
      const { text, contentType } = await metrics.render();
      return new Response(text, { headers: { "Content-Type": contentType } });
    },
    {
      needs: "read",
      detail: {
        operationId: "metrics",
        summary: "The figures of the server, in Prometheus form",
        responses: {
          200: {
            description: "Prometheus text format.",
            headers: REQUEST_ID_HEADER,
            content: { "text/plain": { schema: { type: "string" }, example: "slipway_engine_up 1\n" } },
          },
          ...errorDetails(401, 403, 421, 429, 500),
        },
      },
    },
  );
}
