import type { Output } from "./output.ts";

/** Prints what comes in pieces of any size, line by line, on standard error. */
export class TextLines {
  readonly #out: Output;
  #rest = "";

  constructor(out: Output) {
    this.#out = out;
  }

  add(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#out.note(line);
  }

  /** Prints what is left without the end of a line. */
  end(): void {
    if (this.#rest !== "") this.#out.note(this.#rest);
    this.#rest = "";
  }
}
