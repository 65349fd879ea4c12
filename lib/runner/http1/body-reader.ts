import { RESPONSE_HEAD_BYTES } from "../../domain/limits.ts";
import { MalformedResponse } from "./malformed-response.ts";
import type { Framing } from "./response-head.ts";

const LF = 0x0a;
const CR = 0x0d;
/** The longest line with the size of a chunk, extensions included. */
const SIZE_LINE_BYTES = 1_024;
/** The digits of a size that is exact in a double. */
const SIZE = /^([0-9A-Fa-f]{1,13})[\t ]*(?:;[\t\u0020-\u007e\u0080-\u00ff]*)?$/;

const TOO_LONG = "has a chunk that is longer than its size";

/** Finds the end of a body as it arrives, and takes it out of its chunks. */
export class BodyReader {
  readonly #framing: Framing;
  /** The bytes of the body, or of its chunk, that are still to come. */
  #left: number;
  #done: boolean;
  #surplus = false;
  readonly #chunks = new ChunkLines();

  constructor(framing: Framing) {
    this.#framing = framing;
    this.#left = framing.kind === "length" ? framing.bytes : framing.kind === "until_close" ? Infinity : 0;
    this.#done = framing.kind === "none" || (framing.kind === "length" && framing.bytes === 0);
  }

  /** True if the body is complete. What comes after it is dropped. */
  get done(): boolean {
    return this.#done;
  }

  /** The lines behind the last chunk, as they came. Empty before the body is complete. */
  get trailers(): readonly string[] {
    return this.#chunks.trailers;
  }

  /** True if bytes have come behind the body. */
  get surplus(): boolean {
    return this.#surplus;
  }

  /** Takes more bytes, yields the pieces of the body in them, and returns how many bytes it has taken. Throws MalformedResponse. */
  *push(bytes: Uint8Array): Generator<Uint8Array, number, void> {
    let at = 0;
    while (at < bytes.length && !this.#done) {
      if (this.#left === 0) {
        at += this.#readLine(bytes.subarray(at));
        continue;
      }
      const piece = bytes.subarray(at, at + Math.min(this.#left, bytes.length - at));
      at += piece.length;
      this.#left -= piece.length;
      if (this.#left === 0) {
        if (this.#framing.kind === "length") this.#done = true;
        else this.#chunks.endChunk();
      }
      yield piece;
    }
    if (at < bytes.length) this.#surplus = true;
    return at;
  }

  /** Takes the end of the connection. Throws MalformedResponse if the body is not complete. */
  close(): void {
    if (this.#framing.kind === "until_close") this.#done = true;
    if (!this.#done) throw new MalformedResponse("ends in the middle of its body");
  }

  #readLine(bytes: Uint8Array): number {
    const { taken, size } = this.#chunks.push(bytes);
    if (size === "end") this.#done = true;
    else if (size !== undefined) this.#left = size;
    return taken;
  }
}

/** The lines between the chunks of a body: the size of each, the empty line behind it, and the trailers at the end. Answers have no place for those. */
class ChunkLines {
  #line: Uint8Array[] = [];
  #bytes = 0;
  #expects: "size" | "empty" | "trailer" = "size";
  #trailerBytes = 0;
  readonly trailers: string[] = [];

  /** Takes bytes up to the end of a line. Returns how many, and what the line says: the size of a chunk, or the end of all. */
  push(bytes: Uint8Array): { readonly taken: number; readonly size?: number | "end" } {
    const at = bytes.indexOf(LF);
    const taken = at === -1 ? bytes.length : at + 1;
    this.#bytes += taken;
    if (this.#bytes > this.#limit) {
      const isChunk = this.#expects === "empty";
      throw new MalformedResponse(isChunk ? TOO_LONG : "has a line that is too long among its chunks");
    }
    this.#line.push(bytes.subarray(0, taken));
    if (at === -1) return { taken };
    const size = this.#take(this.#takeLine());
    return size === undefined ? { taken } : { taken, size };
  }

  /** Expects the empty line behind a chunk. */
  endChunk(): void {
    this.#expects = "empty";
  }

  get #limit(): number {
    if (this.#expects === "trailer") return RESPONSE_HEAD_BYTES - this.#trailerBytes;
    return this.#expects === "size" ? SIZE_LINE_BYTES : 2;
  }

  #takeLine(): string {
    const line = Buffer.concat(this.#line);
    this.#line = [];
    this.#bytes = 0;
    if (line[line.length - 2] !== CR)
      throw new MalformedResponse("has a line among its chunks that ends without CR LF");
    return line.toString("latin1", 0, line.length - 2);
  }

  #take(line: string): number | "end" | undefined {
    switch (this.#expects) {
      case "empty":
        if (line !== "") throw new MalformedResponse(TOO_LONG);
        this.#expects = "size";
        return undefined;
      case "trailer":
        this.#trailerBytes += line.length + 2;
        if (line === "") return "end";
        this.trailers.push(line);
        return undefined;
      case "size": {
        const [, digits] = SIZE.exec(line) ?? [];
        if (digits === undefined) throw new MalformedResponse("has a chunk whose size is no number");
        const size = Number.parseInt(digits, 16);
        if (size > 0) return size;
        this.#expects = "trailer";
        return undefined;
      }
    }
  }
}
