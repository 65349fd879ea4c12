import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";
import type { AppError } from "../../domain/errors.ts";
import { freeBuffer } from "../../domain/calls/free-buffer.ts";
import { gone, tooLarge } from "../wire/body.ts";
import { BodyPace } from "../wire/body-pace.ts";
import type { Watching } from "../wire/idle-timeouts.ts";

/** The body of a request that is read while its function runs. */
export interface Upload {
  /** Throws what `signal` aborts with. Its reader sets the pace: nothing is read ahead, and a piece is freed when the next one is asked for. */
  readonly body: ReadableStream<Uint8Array>;
  /** Aborts when the client goes away, or with an `AppError` if its body is too long or too slow. */
  readonly signal: AbortSignal;
  /** Lets the client take its time: its answer has begun, and it may wait for more of that before it goes on. */
  readonly answered: () => void;
}

interface UploadDeps {
  readonly clock: Clock;
  readonly unwatch: Watching["unwatch"];
  /** The longest time without a byte, in milliseconds, as for bodies that are read before the call. */
  readonly stall_ms: number;
}

/** Begins to read a body of at most so many bytes; throws `payload_too_large` if the request announces more. */
export type BeginUpload = (request: Request, limitBytes: number) => Upload;

/** Makes what begins uploads. The waits for the function do not count as slowness of the client. */
export function createUploads({ clock, unwatch, stall_ms }: UploadDeps): BeginUpload {
  return (request, limitBytes) => {
    unwatch(request);
    if (Number(request.headers.get("content-length") ?? 0) > limitBytes) throw tooLarge(limitBytes);
    const pace = new BodyPace(clock, stall_ms);
    pace.pause();
    const abort = new AbortController();
    onAbort(request.signal, () => abort.abort(request.signal.reason));
    const body = paced(request.body ?? new Blob([]).stream(), { pace, limitBytes, abort });
    return { body, signal: abort.signal, answered: () => pace.lift() };
  };
}

interface Reading {
  readonly pace: BodyPace;
  readonly limitBytes: number;
  readonly abort: AbortController;
}

function paced(body: ReadableStream<Uint8Array>, { pace, limitBytes, abort }: Reading): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const leave = () => void reader.cancel().catch(() => undefined);
  pace.start(leave);
  let lent: Uint8Array | undefined;
  /** Ends the call first, so that the function's answer to a body that is cut does not count. */
  const refuse = (error: AppError): never => {
    pace.stop();
    abort.abort(error);
    leave();
    throw error;
  };
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        if (lent !== undefined) freeBuffer(lent);
        lent = undefined;
        pace.resume();
        const piece = await reader.read().catch((error: unknown) => refuse(gone(error)));
        pace.pause();
        if (pace.problem !== undefined) return refuse(pace.problem);
        if (piece.done) return controller.close();
        pace.arrived(piece.value.length);
        if (pace.bytes > limitBytes) return refuse(tooLarge(limitBytes));
        lent = piece.value;
        controller.enqueue(lent);
      },
      cancel: () => {
        pace.stop();
        leave();
      },
    },
    { highWaterMark: 0 },
  );
}
