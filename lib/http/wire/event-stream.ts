import type { Clock } from "../../clock.ts";
import { textStream } from "./text-stream.ts";

/** One event of a stream. The data is sent as JSON. */
export interface ServerEvent {
  /** The `Last-Event-ID` with which a client goes on after this event. */
  readonly id?: string;
  readonly event: string;
  readonly data: unknown;
  /** True for what happened before the reader came: its size does not count as waiting. */
  readonly past?: boolean;
}

/** Sends events to a reader. Ignores everything after `end`, and once the reader has left. */
export interface EventSink {
  send(event: ServerEvent): void;
  end(): void;
}

/** Returns whether a client accepts server-sent events. */
export function wantsEvents(request: Request): boolean {
  return /(?:^|,)\s*text\/event-stream\s*(?:;|,|$)/i.test(request.headers.get("accept") ?? "");
}

/** A comment between two events. */
const BEAT = { type: "text/event-stream", beat: ": still here\n\n" } as const;

/**
 * Answers with server-sent events. `begin` gets the sink and returns a function that is called once the stream has ended or
 * its reader has left.
 */
export function eventStream(clock: Clock, begin: (sink: EventSink) => () => void): Response {
  return textStream(clock, BEAT, ({ write, end }) =>
    // JSON has no newline of its own, so one data line is enough.
    begin({
      send: ({ id, event, data, past }) =>
        write(`event: ${event}\ndata: ${JSON.stringify(data)}\n${id === undefined ? "" : `id: ${id}\n`}\n`, past),
      end,
    }),
  );
}
