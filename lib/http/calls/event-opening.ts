import type { FunctionResponse } from "../../domain/calls/http-message.ts";

/** The time that the first event has before the comment is sent, in milliseconds. */
const FIRST_EVENT_MS = 20;
/** A comment, which every reader of events skips. */
const COMMENT = Buffer.from(":\n");

/** Returns whether an answer is a stream of events as they are sent. */
export function isEventStream({ status, headers }: Pick<FunctionResponse, "status" | "headers">): boolean {
  const type = headers.find(([name]) => name === "content-type")?.[1] ?? "";
  return (
    status === 200 &&
    /^text\/event-stream\s*(?:;|$)/i.test(type) &&
    !headers.some(([name]) => name === "content-encoding")
  );
}

/**
 * Returns the same events, with a comment in front if the first one does not come at once. Bun sends the end of a head with the
 * first byte of its body (oven-sh/bun#33660), and readers of events are told that they are connected when they have the head.
 */
export function withOpening(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let first: ReturnType<typeof reader.read> | undefined;
  let isOpen = false;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const next = first ?? reader.read();
        first = undefined;
        if (!isOpen && (await isLate(next))) {
          // Its error, if it ends with one, is that of the next pull.
          first = next;
          controller.enqueue(COMMENT);
          isOpen = true;
          return;
        }
        isOpen = true;
        const piece = await next;
        if (piece.done) controller.close();
        else controller.enqueue(piece.value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** Returns whether a piece takes longer than the first event may. Never rejects. */
function isLate(piece: Promise<unknown>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(resolve, FIRST_EVENT_MS, true);
  const came = () => {
    clearTimeout(timer);
    resolve(false);
  };
  piece.then(came, came);
  return promise;
}
