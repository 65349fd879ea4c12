import { bodyFrames, CREDIT_BYTES, EMPTY_BODY, ProtocolError } from "./frames.ts";

/** A request body that a gate takes as its function reads it: no more of it is sent than the gate has given credit for. */
export class CreditedBody {
  readonly #bytes: Uint8Array;
  #sent = 0;
  #credit = CREDIT_BYTES;
  #ended = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** True if part of it was not sent, nor its end. */
  get isOwed(): boolean {
    return !this.#ended && this.#sent < this.#bytes.length;
  }

  /** Takes more credit. Throws a ProtocolError if the gate gives back more than it was sent. */
  allow(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit > this.#bytes.length + CREDIT_BYTES) throw new ProtocolError("CREDIT is for more than was sent");
  }

  /** Yields the BODY frames that may be sent now, each made when it is taken. */
  *next(): Generator<Uint8Array, void, void> {
    if (this.#ended) return;
    const begin = this.#sent;
    this.#sent = Math.min(this.#bytes.length, this.#credit);
    yield* bodyFrames(this.#bytes.subarray(begin, this.#sent));
  }

  /** Yields the frame that ends the body where it is; none if all of it was sent. */
  *end(): Generator<Uint8Array, void, void> {
    const owed = this.isOwed;
    this.#ended = true;
    if (owed) yield EMPTY_BODY;
  }
}
