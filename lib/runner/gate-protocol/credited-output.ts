import { creditFrame, CREDIT_FROM_APP } from "./boot-frames.ts";
import { FUNCTION_STREAM, ProtocolError } from "./frames.ts";

/** The most that a function's pipe still holds when it has ended, in bytes: this comes without credit. */
const LEFT_IN_PIPE = 1024 * 1024;

/** The output of a function that comes as the server gives credit for it. */
export class CreditedOutput {
  readonly #limit: number;
  #received = 0;
  /** Bytes that were passed on, and those of them that the gate was told of. */
  #consumed = 0;
  #returned = 0;

  /** `limit` is the most that the gate passes on in all. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes a piece of so many bytes. Throws a ProtocolError if there was no credit for it. */
  take(bytes: number): void {
    this.#received += bytes;
    if (this.#received > this.#limit) throw new ProtocolError("DATA frames hold more than the limit");
    if (this.#received > this.#returned + CREDIT_FROM_APP + LEFT_IN_PIPE) {
      throw new ProtocolError("DATA holds more than the credit");
    }
  }

  /** Notes that so many bytes were passed on. Returns the frame that gives credit for as many, if it is worth one now. */
  consumed(bytes: number): Uint8Array | undefined {
    this.#consumed += bytes;
    if (this.#consumed > this.#received) throw new RangeError("More output was passed on than has come");
    const owed = this.#consumed - this.#returned;
    if (owed < CREDIT_FROM_APP / 2) return undefined;
    this.#returned = this.#consumed;
    return creditFrame(FUNCTION_STREAM, owed);
  }
}
