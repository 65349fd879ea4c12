import type { Clock } from "../../clock.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { InvocationEvent } from "../../services/calls/events.ts";
import { eventStream } from "../wire/event-stream.ts";
import { OutputPosition } from "../../domain/calls/output-position.ts";

/** The reader of an invocation's events. */
interface EventReader {
  /** The id of the last event that it got before it was cut off. */
  readonly last_event_id: string | null;
  /** Returns the part of a record that it may see. */
  readonly shown: (record: Invocation) => Invocation;
  /** Counts the reader, and returns what ends that; throws if there are too many. */
  readonly enter: () => () => void;
}

/**
 * Follows an invocation with server-sent events: `state` with its record, `log` with what was printed so far and then with
 * what is printed, `end`.
 */
export async function invocationEvents(
  results: ResultService,
  clock: Clock,
  id: string,
  { last_event_id, shown, enter }: EventReader,
): Promise<Response> {
  // Checked before the answer begins, so that an unknown id is a 404.
  await results.attempts(id);
  const position = new OutputPosition(last_event_id);
  const leave = enter();
  return eventStream(clock, (sink) => {
    let isOpen = true;
    let past = true;
    let unfollow = (): void => undefined;
    const tell = (event: InvocationEvent): void => {
      if (event.type === "state") {
        position.begin(event.invocation.attempts);
        return sink.send({ id: position.id, event: "state", data: shown(event.invocation), past });
      }
      const entries = position.take(event.entries);
      if (entries.length > 0) sink.send({ id: position.id, event: "log", data: { entries }, past });
    };
    const end = () => {
      sink.send({ id: position.id, event: "end", data: {} });
      sink.end();
    };
    results
      .follow(id, tell, end)
      // The record was removed meanwhile.
      .then(
        (stop) => (isOpen ? (unfollow = stop) : stop()),
        () => sink.end(),
      )
      .finally(() => (past = false));
    return () => {
      isOpen = false;
      leave();
      unfollow();
    };
  });
}
