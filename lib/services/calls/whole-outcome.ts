import { CollectedBytes } from "../../domain/calls/collected-bytes.ts";
import type { FunctionRequest, FunctionResponse } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { AppError } from "../../domain/errors.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";
import type { RunnerRun } from "../../runner/call.ts";
import type { PassingBodies } from "./bodies/passing-bodies.ts";
import { known } from "./record.ts";

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

/** A call whose function may be sent its body while that arrives. */
interface SentCall {
  readonly request: Pick<FunctionRequest, "body">;
  readonly passing: Pick<PassingBodies, "request_bytes">;
}

/** Returns what the end of a run adds to a record whose caller has the whole answer already. */
export function endOf(invocation: Invocation, last: Outcome, call: SentCall): Partial<Invocation> {
  const { status, reason, message, response_bytes } = invocation;
  return { ...known(last), status, reason, message, response_bytes, request_bytes: sentBytes(last, call) };
}

/** Returns the size of a request's body; of a streamed one, as much as its function was sent. */
export function sentBytes({ sent_bytes }: Outcome, { request: { body }, passing }: SentCall): number {
  return body instanceof Uint8Array ? body.length : (sent_bytes ?? passing.request_bytes);
}
