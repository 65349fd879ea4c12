/** Bytes that come in pieces, in one buffer: kept one by one, short pieces would take many times their length. */
export class CollectedBytes {
  #buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Adds a copy of a piece. */
  add(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.#length);
    this.#length = length;
  }

  /** All that have come so far. */
  get all(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Returns all of them, and begins anew. */
  take(): Buffer {
    const taken = this.all;
    this.#buffer = Buffer.alloc(0);
    this.#length = 0;
    return taken;
  }
}
