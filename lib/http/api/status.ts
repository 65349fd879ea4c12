import { Elysia, t } from "elysia";
import type { Check, StatusService } from "../../services/status.ts";
import type { Metrics } from "../../metrics.ts";
import { REQUEST_ID_HEADER } from "../openapi/errors.ts";
import { errorDetails } from "../openapi/operation.ts";
import { type Guard, resource } from "../access/guard.ts";

const CheckSchema = t.Object({
  ok: t.Boolean({ examples: [true] }),
  problem: t.Nullable(t.String({ description: "The cause and how to fix it." })),
  warning: t.Optional(
    t.String({
      description: "A risk in a part that works, such as a PostgreSQL whose standby may lag, and how to remove it.",
    }),
  ),
});
const READINESS = { ready: t.Boolean(), engine: CheckSchema, database: CheckSchema };
const Stopping = t.Literal(true, {
  description: "The server is about to stop (`DRAIN_DELAY_MS`): it still takes calls, and is to be sent no more.",
});
const Ready = t.Object(READINESS, { description: "The server can run functions." });
const NotReady = t.Object(
  { ...READINESS, stopping: t.Optional(Stopping) },
  {
    description: "The server cannot run functions, and `problem` says why; or it is about to stop.",
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
  },
);

/** `GET /healthz` for the supervisor that restarts the server, `GET /readyz` for the proxy that sends it traffic. */
export function healthRoutes(status: Pick<StatusService, "readiness">) {
  return new Elysia({ tags: ["status"] })
    .get("/healthz", () => ({ status: "ok" as const }), {
      response: { 200: t.Object({ status: t.Literal("ok") }, { description: "The server is up." }) },
      detail: { operationId: "health", summary: "Check whether the server is up", security: [] },
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
          summary: "Check whether the server can run functions",
          description: "Checks the engine and the database.",
          security: [],
        },
      },
    );
}

/** The words for strangers about a problem: the server's owner finds the rest on its other listener, and in its log. */
const HIDDEN = "See /readyz of the server's own port.";

/** The health endpoints for strangers: whether something is wrong, not what. */
export function publicHealthRoutes(status: Pick<StatusService, "readiness">) {
  const hidden = ({ ok }: Check): Check => ({ ok, problem: ok ? null : HIDDEN });
  return healthRoutes({
    readiness: async () => {
      const { engine, database, ...rest } = await status.readiness();
      return { ...rest, engine: hidden(engine), database: hidden(database) };
    },
  });
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
        summary: "Show the server's metrics",
        responses: {
          200: {
            description: "The metrics in the Prometheus text format.",
            headers: REQUEST_ID_HEADER,
            content: { "text/plain": { schema: { type: "string" }, example: "slipway_engine_up 1\n" } },
          },
          ...errorDetails(401, 403, 421, 429, 500),
        },
      },
    },
  );
}
