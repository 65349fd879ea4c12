import type { Clock } from "../../../clock.ts";
import { hasEnded } from "../../../domain/builds/builds.ts";
import type { BuildService } from "../../../services/builds/builds.ts";
import type { BuildEvent } from "../../../services/builds/running-build.ts";
import { eventStream } from "../../wire/event-stream.ts";

interface Reader {
  /** The id of the last event that it got before it was cut off. */
  readonly last_event_id: string | null;
  /** Counts the reader, and returns what ends that; throws if there are too many. */
  readonly enter: () => () => void;
}

/** Follows a build with server-sent events: `log` with what it prints, `state` with its record, `end`. */
export function buildEvents(
  builds: BuildService,
  clock: Clock,
  id: string,
  { last_event_id, enter }: Reader,
): Response {
  // Checked before the answer begins, so that an unknown id is a 404.
  builds.get(id);
  const leave = enter();
  const position = /^\d{1,15}$/.test(last_event_id ?? "") ? Number(last_event_id) : 0;
  return eventStream(clock, (sink) => {
    let past = true;
    const tell = (event: BuildEvent): void => {
      if (event.type === "log") {
        return sink.send({ id: String(event.position), event: "log", data: { text: event.text }, past });
      }
      sink.send({ event: "state", data: event.build, past });
      if (!hasEnded(event.build)) return;
      sink.send({ event: "end", data: {} });
      sink.end();
    };
    const unfollow = builds.follow(id, position, tell);
    past = false;
    return () => {
      leave();
      unfollow();
    };
  });
}
