/** A piece of one of the streams that the engine merges. */
export interface StreamPiece {
  readonly stream: "stdin" | "stdout" | "stderr";
  readonly bytes: Uint8Array;
}

const HEADER = 8;
const STREAMS = ["stdin", "stdout", "stderr"] as const;

/**
 * Takes the engine's attach stream apart: frames of an 8-byte header (stream, three zero bytes, length big-endian) and a
 * payload. It takes linear time, and passes payloads on as they come, whatever length the header claims.
 */
export class Demultiplexer {
  readonly #header = Buffer.alloc(HEADER);
  #headerLength = 0;
  #stream: StreamPiece["stream"] = "stdout";
  #left = 0;

  /** Yields the pieces in the next chunk of the stream. Throws if it is not such a stream. */
  *push(chunk: Uint8Array): Generator<StreamPiece> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const bytes = chunk.subarray(at, at + this.#left);
        at += bytes.length;
        this.#left -= bytes.length;
        yield { stream: this.#stream, bytes };
        continue;
      }
      const part = chunk.subarray(at, at + HEADER - this.#headerLength);
      this.#header.set(part, this.#headerLength);
      this.#headerLength += part.length;
      at += part.length;
      if (this.#headerLength === HEADER) this.#readHeader();
    }
  }

  #readHeader(): void {
    const stream = STREAMS[this.#header[0] ?? 255];
    if (stream === undefined || this.#header[1] !== 0 || this.#header[2] !== 0 || this.#header[3] !== 0) {
      throw new Error("the engine's attach stream has a malformed header");
    }
    this.#stream = stream;
    this.#left = this.#header.readUInt32BE(4);
    this.#headerLength = 0;
  }
}
