import { t } from "elysia";
import { Stats } from "../../../domain/stats/figures.ts";
import { STATS } from "../../../domain/limits.ts";
import type { StatsService } from "../../../services/calls/stats.ts";
import { type Guard, resource } from "../../access/guard.ts";
import { Envelope, errors, success } from "../../wire/envelope.ts";

const query = t.Object(
  {
    function_id: t.Optional(
      t.String({ description: "Only calls of this function, by its id or name; of one that was removed, by its id." }),
    ),
    since: t.Optional(
      t.String({
        description: "The beginning, rounded down to a whole step; an hour before `until` by default.",
        examples: ["2026-01-31T12:00:00Z"],
      }),
    ),
    until: t.Optional(
      t.String({
        description: "The end, rounded up to a whole step and not part of the range; now by default.",
        examples: ["2026-01-31T14:00:00+01:00"],
      }),
    ),
    step: t.Optional(
      t.String({
        description:
          "The length of a step: `minute`, `hour`, or whole minutes, hours or days such as `5m`, `6h` or `1d`. By default one that " +
          `makes at most ${STATS.points_by_default} points.`,
        examples: ["5m"],
      }),
    ),
  },
  { additionalProperties: false },
);

/** `/v1/stats`: the figures of the calls of the past. */
export function statsRoutes(guard: Guard<"read">, stats: Pick<StatsService, "read">) {
  return resource(guard, "invocations").get("/", async ({ query }) => success(await stats.read(query)), {
    needs: "read",
    long: true,
    query,
    response: { 200: Envelope(Stats, "The figures of the range, and of each step in it."), ...errors(400) },
    detail: {
      operationId: "getStats",
      summary: "Show the figures of past calls, by time",
      description:
        "How many there were, how they ended, and how long they took. A call is counted in the step in which it ended. Steps are counted from midnight in UTC. Steps of minutes exist for the " +
        `last ${STATS.minutes_ms / 3_600_000} hours, steps of hours for ${STATS.hours_ms / 86_400_000} days. At most ${STATS.points} points are given.`,
    },
  });
}
