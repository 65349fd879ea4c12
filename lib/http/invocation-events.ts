import type { Clock } from "../clock.ts";
import type { FollowingService } from "../services/following.ts";
import { eventStream } from "./event-stream.ts";

/** What becomes of an invocation, as server-sent events: `state` with its record, `log` with what was printed, `end`. */
export function invocationEvents(following: FollowingService, clock: Clock, id: string): Response {
  // Before the answer begins: an unknown id is a 404.
  following.attempts(id);
  return eventStream(clock, (sink) =>
    following.follow(
      id,
      (event) =>
        event.type === "state"
          ? sink.send({ event: "state", data: event.invocation })
          : sink.send({ event: "log", data: { entries: event.entries } }),
      () => {
        sink.send({ event: "end", data: {} });
        sink.end();
      },
    ),
  );
}
