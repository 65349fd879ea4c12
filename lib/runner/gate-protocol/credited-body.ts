import { bodyFrames, CREDIT_BYTES, EMPTY_BODY, ProtocolError } from "./frames.ts";

const NOTHING = new Uint8Array(0);

/**
 * A request body that a gate takes as its function reads it: no more of it is sent than the gate has given credit for. It is there as a
 * whole, or comes piece by piece.
 */
export class CreditedBody {
  /** The bytes that have come and were not sent. */
  #waiting: Uint8Array;
  /** True if it comes in pieces, and an empty frame ends it. */
  readonly #isOpen: boolean;
  #isComplete: boolean;
  #sent = 0;
  #credit = CREDIT_BYTES;
  #ended = false;

  /** Takes the whole body; nothing if it comes by `add`. */
  constructor(bytes?: Uint8Array) {
    this.#waiting = bytes ?? NOTHING;
    this.#isOpen = bytes === undefined;
    this.#isComplete = bytes !== undefined;
  }

  /** The bytes that were sent. */
  get sent(): number {
    return this.#sent;
  }

  /** True if part of it was not sent, nor its end. */
  get isOwed(): boolean {
    return !this.#ended && (this.#isOpen || this.#waiting.length > 0);
  }

  /** True if the next piece can be sent at once, in part at least. */
  get wantsMore(): boolean {
    return !this.#ended && !this.#isComplete && this.#waiting.length === 0 && this.#credit > this.#sent;
  }

  /** Takes the next piece, once the one before was sent; none is the end. */
  add(piece: Uint8Array | undefined): void {
    if (this.#isComplete || this.#waiting.length > 0)
      throw new Error("A body takes one piece at a time, up to its end");
    if (piece === undefined) this.#isComplete = true;
    else this.#waiting = piece;
  }

  /** Takes more credit. Throws a ProtocolError if the gate gives back more than it was sent. */
  allow(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit > this.#sent + CREDIT_BYTES) throw new ProtocolError("CREDIT is for more than was sent");
  }

  /** Yields the BODY frames that may be sent now, each made when it is taken. */
  *next(): Generator<Uint8Array, void, void> {
    if (this.#ended) return;
    const now = this.#waiting.subarray(0, this.#credit - this.#sent);
    // Not an empty view of a piece that its sender frees once the next one is asked for: to look into it again would throw.
    this.#waiting = now.length === this.#waiting.length ? NOTHING : this.#waiting.subarray(now.length);
    this.#sent += now.length;
    yield* bodyFrames(now);
    if (this.#isOpen && this.#isComplete && this.#waiting.length === 0) yield* this.end();
  }

  /** Yields the frame that ends the body where it is; none if that was sent, or is known by its length. */
  *end(): Generator<Uint8Array, void, void> {
    const owed = this.isOwed;
    this.#ended = true;
    if (owed) yield EMPTY_BODY;
  }
}
