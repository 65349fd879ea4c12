/** A piece from this length on is kept as it is; to copy a shorter one is cheaper than to keep an object for it. */
const SHORT_BYTES = 4 * 1024;
/** The buffers that short pieces are gathered in, from the first to the largest. */
const FIRST_BYTES = 256;
const LARGEST_BYTES = 64 * 1024;

const NOTHING = Buffer.alloc(0);

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

/** Pieces of a body that wait. Kept one by one, bytes that come singly would take many times as much memory. */
export class GatheredPieces {
  #pieces: Uint8Array[] = [];
  #buffer = NOTHING;
  /** The bytes in the buffer. */
  #used = 0;
  #length = 0;

  /** The bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Adds a piece; a short one is copied. */
  add(piece: Uint8Array): void {
    this.#length += piece.length;
    if (piece.length >= SHORT_BYTES) {
      this.#close();
      this.#pieces.push(piece);
      return;
    }
    this.#makeRoom(piece.length);
    this.#buffer.set(piece, this.#used);
    this.#used += piece.length;
  }

  /** Returns all that wait, in order, and begins anew. */
  take(): Uint8Array[] {
    this.#close();
    const taken = this.#pieces;
    this.#pieces = [];
    this.#length = 0;
    return taken;
  }

  #makeRoom(bytes: number): void {
    if (this.#used + bytes <= this.#buffer.length) return;
    if (this.#used + bytes > LARGEST_BYTES) this.#close();
    const size = Math.min(LARGEST_BYTES, Math.max(FIRST_BYTES, 2 * this.#buffer.length, this.#used + bytes));
    // Filled before anyone sees it, and not of Bun's pool: its reader may free it.
    const larger = Buffer.allocUnsafeSlow(size);
    larger.set(this.#buffer.subarray(0, this.#used));
    this.#buffer = larger;
  }

  #close(): void {
    if (this.#used > 0) this.#pieces.push(this.#buffer.subarray(0, this.#used));
    this.#buffer = NOTHING;
    this.#used = 0;
  }
}
