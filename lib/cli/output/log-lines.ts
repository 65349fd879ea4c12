import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { Output } from "./output.ts";
import { printableLines } from "./printable.ts";

/** Prints the output of functions: on a terminal line by line and safe, elsewhere as it was printed. */
export class LogLines {
  readonly #out: Output;
  readonly #prefix: string;
  /** The beginning of a line whose end has not come yet, by stream. */
  readonly #open = { stdout: "", stderr: "" };

  /** Lines of several invocations are told apart by a prefix. */
  constructor(out: Output, prefix = "") {
    this.#out = out;
    this.#prefix = prefix;
  }

  /** Prints what entries complete. */
  add(entries: readonly LogEntry[]): void {
    for (const { stream, text, dropped_before_bytes: dropped } of entries) {
      if (dropped !== undefined) this.#note(`${dropped} bytes were not kept`);
      const lines = (this.#open[stream] + text).split("\n");
      this.#open[stream] = lines.pop() ?? "";
      for (const line of lines) this.#print(line, stream);
    }
  }

  /** Prints what is left without the end of a line. */
  end(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      if (this.#open[stream] !== "") this.#print(this.#open[stream], stream);
      this.#open[stream] = "";
    }
  }

  #print(line: string, stream: LogEntry["stream"]): void {
    const out = this.#out;
    if (!out.isTerminal) return out.raw(`${this.#prefix}${line}\n`);
    const shown = printableLines(line.replace(/\r$/, ""));
    out.raw(`${out.dim(this.#prefix)}${stream === "stderr" ? out.red(shown) : shown}\n`);
  }

  #note(text: string): void {
    this.#out.note(`slipway: ${this.#prefix}${text}`);
  }
}
