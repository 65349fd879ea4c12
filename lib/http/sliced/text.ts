import { Slices } from "../../domain/concurrency.ts";

/** Characters that are turned into bytes at once: they take less than a millisecond. */
const PIECE_CHARACTERS = 256 * 1024;

/** Bytes of a text that is made piece by piece, while others have their turn in between. */
export class SlicedText {
  readonly #slices = new Slices();
  readonly #done: Uint8Array[] = [];
  #text = "";

  add(text: string): void {
    this.#text += text;
  }

  /** Call it after each piece. */
  async rest(): Promise<void> {
    if (this.#text.length > PIECE_CHARACTERS) this.#encode();
    if (this.#slices.over) await this.#slices.next();
  }

  bytes(): Uint8Array<ArrayBuffer> {
    this.#encode();
    return Buffer.concat(this.#done);
  }

  #encode(): void {
    this.#done.push(Buffer.from(this.#text));
    this.#text = "";
  }
}
