const CLOSE = 0x8;
/** The lengths of a frame's head: two bytes, and a longer length in two or eight more (RFC 6455, 5.2). A server masks nothing. */
const HEAD_BYTES = { short: 2, medium: 4, long: 10 } as const;

/**
 * Watches the frames of a function's WebSocket for the one that closes it: a connection that ends without it was lost. It skips
 * their payloads and checks nothing, as the relay to the client reads them in full.
 */
export class ClosingWatch {
  readonly #head = Buffer.alloc(HEAD_BYTES.long);
  #filled = 0;
  #left = 0;
  #closes = false;

  /** True if a close frame has come. */
  get closes(): boolean {
    return this.#closes;
  }

  /** Takes more bytes of the connection. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.#closes;) {
      const passed = Math.min(this.#left, bytes.length - at);
      this.#left -= passed;
      at += passed;
      if (at === bytes.length) return;
      this.#head[this.#filled++] = bytes[at++] ?? 0;
      if (this.#filled === this.#headBytes) this.#begin();
    }
  }

  get #headBytes(): number {
    const length = this.#filled < HEAD_BYTES.short ? 0 : this.#head.readUInt8(1) & 0x7f;
    return length < 126 ? HEAD_BYTES.short : length === 126 ? HEAD_BYTES.medium : HEAD_BYTES.long;
  }

  #begin(): void {
    const length = this.#head.readUInt8(1) & 0x7f;
    this.#left =
      length < 126 ? length : length === 126 ? this.#head.readUInt16BE(2) : Number(this.#head.readBigUInt64BE(2));
    this.#closes = (this.#head.readUInt8(0) & 0x0f) === CLOSE;
    this.#filled = 0;
  }
}
