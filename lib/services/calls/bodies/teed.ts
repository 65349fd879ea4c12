import { CollectedBytes } from "../../../domain/calls/collected-bytes.ts";

/** A body that is read while it comes, and kept. */
interface Teed {
  /** For the reader, who sets the pace as long as it stays. */
  readonly live: ReadableStream<Uint8Array>;
  /** All of it, whether its reader stays or not; null if it is longer than the limit, or does not come to its end. Never rejects. */
  readonly whole: Promise<Uint8Array | null>;
}

/** Reads a body for two: for a reader who may leave, and to keep it, up to so many bytes. */
export function teed(body: ReadableStream<Uint8Array>, limitBytes: number): Teed {
  const reader = body.getReader();
  const kept = new CollectedBytes();
  let isShort = true;
  let isRead = true;
  let wanted = Promise.withResolvers<void>();
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const live = new ReadableStream<Uint8Array>(
    {
      start: (given) => void (controller = given),
      pull: () => wanted.resolve(),
      cancel: () => {
        isRead = false;
        wanted.resolve();
      },
    },
    { highWaterMark: 0 },
  );
  const keep = (piece: Uint8Array): void => {
    isShort &&= kept.length + piece.length <= limitBytes;
    if (isShort) kept.add(piece);
    else kept.take();
  };
  const read = async (): Promise<Uint8Array | null> => {
    for (;;) {
      if (isRead) await wanted.promise;
      const piece = await reader.read();
      if (piece.done) break;
      keep(piece.value);
      wanted = Promise.withResolvers();
      // A copy: the memory of a piece is freed when the next one is asked for.
      if (isRead) controller?.enqueue(Uint8Array.from(piece.value));
    }
    if (isRead) controller?.close();
    return isShort ? kept.take() : null;
  };
  const whole = read().catch((error: unknown) => {
    if (isRead) controller?.error(error);
    return null;
  });
  return { live, whole };
}
