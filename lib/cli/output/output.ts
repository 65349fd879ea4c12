import { createColors } from "picocolors";
import type { Variables } from "../../config/config.ts";
import { printable } from "./printable.ts";
import { tableLines } from "./table.ts";

/** The cells of a table by their headings, in order. Empty cells show as `-`. */
export type Row = Readonly<Record<string, string | number | null | undefined>>;

/** The target of a command's output: standard output, or standard error. */
export interface Stream {
  readonly isTTY?: boolean | undefined;
  write(text: string | Uint8Array): unknown;
}

export interface OutputOptions {
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly env: Variables;
  /** Returns whether to print JSON in place of tables. */
  readonly json: () => boolean;
}

/** Prints for people, or, with `--json`, for programs. Everything except `raw` is made safe for a terminal. */
export class Output {
  readonly #options: OutputOptions;
  readonly #colors: ReturnType<typeof createColors>;

  constructor(options: OutputOptions) {
    const { stdout, env } = options;
    this.#options = options;
    // NO_COLOR (no-color.org) counts unless it is empty.
    const plain = (env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb";
    this.#colors = createColors(stdout.isTTY === true && !plain);
  }

  get json(): boolean {
    return this.#options.json();
  }

  get isTerminal(): boolean {
    return this.#options.stdout.isTTY === true;
  }

  /** Prints one line. */
  line(text: string): void {
    this.#write(`${printable(text)}\n`);
  }

  /** Prints bytes or a text as they are. */
  raw(data: string | Uint8Array): void {
    this.#write(data);
  }

  /** Tells the person something that is not the result, on standard error. */
  note(text: string): void {
    this.#options.stderr.write(`${printable(text)}\n`);
  }

  /** Prints a value as JSON: all on one line if `compact`, for streams of them. */
  value(data: unknown, { compact = false } = {}): void {
    // JSON.stringify escapes C0 characters itself; the rest are escaped the same way, which leaves the value unchanged.
    const text = JSON.stringify(data, undefined, compact ? undefined : 2) ?? "null";
    this.#write(`${text.split("\n").map(printable).join("\n")}\n`);
  }

  /** Prints records: as a table, or the value itself as JSON. Without any, people read `none`. */
  list(data: unknown, rows: readonly Row[], none: string): void {
    if (this.json) return this.value(data);
    const [first] = rows;
    if (first === undefined) return this.note(none);
    this.table(rows);
  }

  /** Prints one record: its fields below each other, or the value itself as JSON. */
  record(data: unknown, fields: Row): void {
    if (this.json) return this.value(data);
    const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
    this.#lines(entries.map(([name, value]) => [this.#colors.dim(printable(name)), cell(value)]));
  }

  /** Prints what a command has done: one line for people, or the value itself as JSON. */
  done(data: unknown, text: string): void {
    if (this.json) this.value(data);
    else this.line(text);
  }

  /** Prints a table with headings. */
  table(rows: readonly Row[]): void {
    const headings = Object.keys(rows[0] ?? {});
    const body = rows.map((row) => headings.map((heading) => this.#coloured(heading, cell(row[heading]))));
    this.#lines([headings.map((heading) => this.#colors.bold(heading.toUpperCase())), ...body]);
  }

  /** Returns a printable text in the colour of less important things. */
  dim(text: string): string {
    return this.#colors.dim(printable(text));
  }

  /** Returns a printable text in the colour of errors. */
  red(text: string): string {
    return this.#colors.red(printable(text));
  }

  #lines(rows: readonly (readonly string[])[]): void {
    this.#write(
      tableLines(rows)
        .map((line) => `${line}\n`)
        .join(""),
    );
  }

  #coloured(heading: string, text: string): string {
    if (heading !== "status") return text;
    if (["succeeded", "ready", "active", "ok"].includes(text)) return this.#colors.green(text);
    if (["failed", "dead", "timed_out", "revoked", "expired"].includes(text)) return this.#colors.red(text);
    return this.#colors.yellow(text);
  }

  #write(text: string | Uint8Array): void {
    this.#options.stdout.write(text);
  }
}

function cell(value: Row[string]): string {
  return value === null || value === undefined || value === "" ? "-" : printable(String(value));
}
