import type { Clock } from "../../../clock.ts";
import { AppError } from "../../../domain/errors.ts";
import { BodyPace } from "../../wire/body-pace.ts";

interface BodyOptions {
  readonly clock: Clock;
  /** The longest time without a byte, in milliseconds. */
  readonly stall_ms: number;
  readonly limit_bytes: number;
  /** Takes the next bytes; no more are read until it has. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

/**
 * Reads the body of a request piece by piece. Throws `payload_too_large` as soon as it is known to be over the limit,
 * `request_timeout` if it stops arriving or is too slow, and `cancelled` if the client goes away.
 */
export async function readInPieces(
  request: Request,
  { clock, stall_ms, limit_bytes, write }: BodyOptions,
): Promise<void> {
  if (Number(request.headers.get("content-length") ?? 0) > limit_bytes) throw tooLarge(limit_bytes);
  if (request.body === null) throw new AppError("invalid_request", "No build context: send a tar archive as the body");
  const reader = request.body.getReader();
  const pace = new BodyPace(clock, stall_ms);
  const giveUp = () => void reader.cancel().catch(() => undefined);
  pace.start(giveUp);
  try {
    for (;;) {
      const piece = await next(reader);
      if (piece === undefined) break;
      pace.arrived(piece.length);
      if (pace.bytes > limit_bytes) throw tooLarge(limit_bytes);
      await write(piece);
    }
    if (pace.problem !== undefined) throw pace.problem;
  } catch (error) {
    giveUp();
    throw error;
  } finally {
    pace.stop();
  }
}

async function next(reader: Pick<ReadableStreamDefaultReader<Uint8Array>, "read">): Promise<Uint8Array | undefined> {
  try {
    const { done, value } = await reader.read();
    return done ? undefined : value;
  } catch (cause) {
    throw new AppError("cancelled", "The client went away before its whole context had arrived", { cause });
  }
}

function tooLarge(limit: number): AppError {
  return new AppError(
    "payload_too_large",
    `The build context is over the limit of ${limit} bytes: leave out files with .dockerignore, or raise BUILD_BYTES`,
  );
}
