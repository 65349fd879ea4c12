import { t } from "elysia";
import type { Clock } from "../../../clock.ts";
import type { ResultService } from "../../../services/calls/results.ts";
import type { FunctionService } from "../../../services/functions/functions.ts";
import { type Guard, resource } from "../../access/guard.ts";
import type { OpenStreams } from "../../access/open-streams.ts";
import { errors } from "../../wire/envelope.ts";
import { eventStream } from "../../wire/event-stream.ts";

/** The dependencies of the readers of a function's output. */
export interface FunctionLogTools {
  readonly functions: Pick<FunctionService, "get">;
  readonly results: Pick<ResultService, "followFunction">;
  readonly clock: Clock;
  readonly openStreams: OpenStreams;
}

const params = t.Object({
  id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
});

/** `GET /v1/functions/:id/logs`: what all calls of a function print, as they come, by one connection. */
export function functionLogsRoutes(guard: Guard<"logs">, { functions, results, clock, openStreams }: FunctionLogTools) {
  return resource(guard, "functions").get(
    "/:id/logs",
    ({ params: { id }, request }) => {
      // Before the answer begins, so that an unknown function is a 404.
      const fn = functions.get(id);
      const leave = openStreams.enter(guard.callerOf(request).key_id);
      return eventStream(clock, (sink) => {
        let isOpen = true;
        let unfollow = (): void => undefined;
        sink.send({ event: "begin", data: { function_id: fn.id } });
        results
          .followFunction(fn.id, (data) => sink.send({ event: "output", data }))
          .then(
            (stop) => (isOpen ? (unfollow = stop) : stop()),
            () => sink.end(),
          );
        return () => {
          isOpen = false;
          leave();
          unfollow();
        };
      });
    },
    {
      needs: "logs",
      long: true,
      params,
      response: errors(404, 503),
      detail: {
        operationId: "followFunctionLogs",
        summary: "Follow what all calls of a function print",
        description:
          "Server-sent events: `begin`, then `output` with `entries` (what was printed, each with its `invocation_id`), `ends` (the " +
          "calls and attempts that ended, with `status`, `reason`, `start` and `run_ms`) and `left_out`, at most five times a second. " +
          "The first has the output of the latest 10 calls. At most 500 entries and 256 Ki characters are sent at once: of more, " +
          "the latest, and `left_out` counts the rest. `GET /v1/invocations/:id/logs` has all that is kept of a call.",
      },
    },
  );
}
