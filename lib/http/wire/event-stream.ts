import type { Clock } from "../../clock.ts";

/** The interval between heartbeats, in milliseconds. They keep proxies from closing the connection and reveal readers that have left. */
export const HEARTBEAT_MS = 5_000;
/** The most bytes that may wait for a slow reader. Beyond it the stream is closed. */
const WAITING_BYTES = 4 * 1024 * 1024;

/** Sends text to a reader. Ignores everything after `end`, and once the reader has left. */
export interface TextSink {
  /** `past` is true for what happened before the reader came: its size does not count as waiting. */
  write(text: string, past?: boolean): void;
  end(): void;
}

/**
 * Answers with text as it comes. `begin` gets the sink and returns a function that is called once the stream has ended or its reader
 * has left. `beat` is sent again and again, until then.
 */
export function textStream(
  clock: Clock,
  { type, beat: heartbeat }: { readonly type: string; readonly beat: string },
  begin: (sink: TextSink) => () => void,
): Response {
  const encoder = new TextEncoder();
  let finish: () => void = () => undefined;
  const stream = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        let open = true;
        let cleanUp: (() => void) | undefined;
        let cancelBeat: () => void = () => undefined;
        finish = () => {
          if (!open) return;
          open = false;
          cancelBeat();
          cleanUp?.();
        };
        const close = () => {
          if (open) controller.close();
          finish();
        };
        let allowed = WAITING_BYTES;
        const write = (text: string, past = false) => {
          if (!open) return;
          const bytes = encoder.encode(text);
          if (past) allowed += bytes.length;
          controller.enqueue(bytes);
          if ((controller.desiredSize ?? 0) < -allowed) close();
        };
        const beat = () => {
          write(heartbeat);
          cancelBeat = clock.after(HEARTBEAT_MS, beat);
        };
        cancelBeat = clock.after(HEARTBEAT_MS, beat);
        cleanUp = begin({ write, end: close });
        // The stream may have ended inside of `begin`.
        if (!open) cleanUp();
      },
      cancel: () => finish(),
    },
    { highWaterMark: 0, size: (chunk) => chunk?.byteLength ?? 0 },
  );
  return new Response(stream, {
    headers: { "Content-Type": type, "Cache-Control": "no-store", "X-Accel-Buffering": "no" },
  });
}

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
  return textStream(clock, BEAT, (sink) =>
    // JSON has no newline of its own, so one data line is enough.
    begin({
      send: ({ id, event, data, past }) =>
        sink.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n${id === undefined ? "" : `id: ${id}\n`}\n`, past),
      end: () => sink.end(),
    }),
  );
}
