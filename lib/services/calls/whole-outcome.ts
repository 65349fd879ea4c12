import { CollectedBytes } from "../../domain/calls/collected-bytes.ts";
import type { FunctionResponse } from "../../domain/calls/http-message.ts";
import { AppError } from "../../domain/errors.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";
import type { RunnerRun } from "../../runner/call.ts";

/**
 * Returns the outcome of a run with the whole body of its answer, for what stores the answer. `abort` ends the run if the body is
 * over the limit. If it does not come to its end, the outcome is the last one, without an answer.
 */
export async function wholeOutcome(
  { outcome, ended }: Pick<RunnerRun, "outcome" | "ended">,
  limitBytes: number,
  abort: (error: AppError) => void,
): Promise<Outcome> {
  const { response } = outcome;
  if (response === null || response.body instanceof Uint8Array) return outcome;
  try {
    const body = await collected(response.body, limitBytes);
    const whole: FunctionResponse = { ...response, body };
    return { ...outcome, response: whole, response_bytes: body.length };
  } catch (error) {
    // Also if it is an error of the stream, whose run has ended then.
    abort(error instanceof AppError ? error : new AppError("instance_lost", "The answer did not come to its end"));
    return { ...(await ended), response: null };
  }
}

async function collected(body: ReadableStream<Uint8Array>, limitBytes: number): Promise<Uint8Array> {
  const bytes = new CollectedBytes();
  for await (const piece of body) {
    if (bytes.length + piece.length > limitBytes) {
      const message = `The answer is over the limit of ${limitBytes} bytes for answers that are stored: send a shorter one, or call the function without an Idempotency-Key and not asynchronously`;
      throw new AppError("response_too_large", message);
    }
    bytes.add(piece);
  }
  return bytes.all;
}
