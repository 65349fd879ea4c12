import type { Clock } from "../../clock.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { eventStream } from "../wire/event-stream.ts";

/** Follows an invocation with server-sent events: `state` with its record, `log` with what was printed, `end`. `shown` returns what the reader may see. */
export async function invocationEvents(
  results: ResultService,
  clock: Clock,
  id: string,
  shown: (record: Invocation) => Invocation,
): Promise<Response> {
  // Checked before the answer begins, so that an unknown id is a 404.
  await results.attempts(id);
  return eventStream(clock, (sink) => {
    let isOpen = true;
    let unfollow = (): void => undefined;
    const end = () => {
      sink.send({ event: "end", data: {} });
      sink.end();
    };
    const following = results.follow(
      id,
      (event) =>
        event.type === "state"
          ? sink.send({ event: "state", data: shown(event.invocation) })
          : sink.send({ event: "log", data: { entries: event.entries } }),
      end,
    );
    following.then(
      (stop) => (isOpen ? (unfollow = stop) : stop()),
      // The record was removed meanwhile.
      () => sink.end(),
    );
    return () => {
      isOpen = false;
      unfollow();
    };
  });
}
