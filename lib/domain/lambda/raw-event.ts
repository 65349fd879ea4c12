import { AppError } from "../errors.ts";
import { decodeText, NotJson, parseJsonText, withoutByteOrderMark } from "../json-text.ts";

const NO_EVENT: Uint8Array = Buffer.from("{}");

/**
 * Returns the event of a call whose body is the event: runtimes parse it as JSON, also where there is none. Throws
 * `invalid_request` for a body that is not JSON.
 */
export function rawEvent(body: Uint8Array): Uint8Array {
  if (body.length === 0) return NO_EVENT;
  try {
    parseJsonText(decodeText(body));
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw new AppError(
      "invalid_request",
      `The body is not JSON (${error.message}): a function of the contract "lambda" gets it as its event`,
    );
  }
  return withoutByteOrderMark(body);
}
