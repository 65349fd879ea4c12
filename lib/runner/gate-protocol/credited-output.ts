import { creditFrame } from "./boot-frames.ts";
import { CREDIT_BYTES, FUNCTION_STREAM, PAYLOAD_BYTES, ProtocolError } from "./frames.ts";

/** The most that comes without credit when a function has ended: what its pipe still holds, up to 1 MiB (DRAIN_MAX), and the rest of a frame. */
const LEFT_IN_PIPE = 1024 * 1024 + PAYLOAD_BYTES;

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
    if (this.#received > this.#returned + CREDIT_BYTES + LEFT_IN_PIPE) {
      throw new ProtocolError("DATA holds more than the credit");
    }
  }

  /** Notes that so many bytes were passed on. Returns the frame that gives credit for as many, if it is worth one now. */
  consumed(bytes: number): Uint8Array | undefined {
    this.#consumed += bytes;
    if (this.#consumed > this.#received) throw new RangeError("More output was passed on than has come");
    const owed = this.#consumed - this.#returned;
    // In steps that are worth a frame, and while the gate still has some.
    if (owed < CREDIT_BYTES / 2) return undefined;
    this.#returned = this.#consumed;
    return creditFrame(FUNCTION_STREAM, owed);
  }
}
