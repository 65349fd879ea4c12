import type { LogEntry } from "../../domain/calls/invocations.ts";

/** Values that are shorter would mask what has nothing to do with them: a secret `1` every number. */
const MASKED_BYTES = 4;
/** Of these the first stands for a value that contains no such character: so no mask makes a value out of its surroundings. */
const MASKS = ["***", "###", "===", "\u2588\u2588\u2588"] as const;

/** From the first character that is masked to the one after the last. */
type Range = readonly [from: number, to: number];

/**
 * Hides the values of secrets in what a function prints and in what is told of it. A value is found across the entries of
 * one stream, also where it lacks the white space at its ends, and where the stream ends within it.
 */
export class Redaction {
  readonly #values: readonly string[];
  /** None where the values contain the characters of all masks: then nothing is shown that contains a value. */
  readonly #mask: string | undefined;

  constructor(values: readonly string[]) {
    this.#values = [...new Set(values.map(core))].filter((value) => value !== "");
    this.#mask = MASKS.find((mask) => this.#values.every((value) => !value.includes(mask.charAt(0))));
  }

  /** The same text without the values. */
  text(text: string): string {
    return this.#apply([text])[0] ?? "";
  }

  /** The same entries without the values; those that held nothing else are gone. */
  entries(entries: readonly LogEntry[]): LogEntry[] {
    if (this.#values.length === 0) return [...entries];
    const shown = new Map<LogEntry, string>();
    for (const stream of ["stdout", "stderr"] as const) {
      const own = entries.filter((entry) => entry.stream === stream);
      this.#apply(own.map(({ text }) => text)).forEach((text, index) => own[index] && shown.set(own[index], text));
    }
    return entries.map((entry) => ({ ...entry, text: shown.get(entry) ?? "" })).filter(({ text }) => text !== "");
  }

  /**
   * As much of a text that goes on as can be shown now, and the rest, which belongs before what comes next: it may be the
   * beginning of a value.
   */
  split(text: string): { readonly shown: string; readonly rest: string } {
    let cut = Math.min(text.length, ...this.#values.map((value) => text.length - begun(text, value)));
    for (const [from, to] of merged(this.#values.flatMap((value) => occurrences(text, value))).toReversed())
      if (from < cut && to > cut) cut = from;
    return { shown: this.text(text.slice(0, cut)), rest: text.slice(cut) };
  }

  /** Masks the values in texts that follow each other. */
  #apply(texts: readonly string[]): string[] {
    const joined = texts.join("");
    const ranges = merged(this.#values.flatMap((value) => occurrences(joined, value)));
    if (ranges.length === 0) return [...texts];
    const mask = this.#mask;
    if (mask === undefined) return texts.map(() => "");
    let start = 0;
    return texts.map((text) => {
      const masked = maskPart(text, start, ranges, mask);
      start += text.length;
      return masked;
    });
  }
}

/** What is looked for of a value: what is left of it when it is read as a word or a line; nothing where that is short. */
function core(value: string): string {
  const trimmed = value.trim();
  if (Buffer.byteLength(trimmed) >= MASKED_BYTES) return trimmed;
  return Buffer.byteLength(value) >= MASKED_BYTES ? value : "";
}

/**
 * Where a value occurs, those places included that overlap, and where the text ends with four or more of its first
 * characters. In linear time (Knuth, Morris and Pratt), since the function chooses the text.
 */
function occurrences(text: string, value: string): Range[] {
  if (text === "") return [];
  const first = text.indexOf(value);
  const start = first === -1 ? Math.max(0, text.length - value.length + 1) : first;
  const borders = bordersOf(value);
  const ranges: Range[] = [];
  let matched = 0;
  for (let at = start; at < text.length; at++) {
    while (matched > 0 && (matched === value.length || text[at] !== value[matched]))
      matched = borders[matched - 1] ?? 0;
    if (text[at] === value[matched]) matched++;
    if (matched === value.length) add(ranges, [at + 1 - matched, at + 1]);
  }
  if (matched < value.length && matched >= MASKED_BYTES) add(ranges, [text.length - matched, text.length]);
  return ranges;
}

/** How many of the first characters of a value the text ends with; the whole value counts as what it may begin anew. */
function begun(text: string, value: string): number {
  const borders = bordersOf(value);
  let matched = 0;
  for (let at = Math.max(0, text.length - value.length + 1); at < text.length; at++) {
    while (matched > 0 && text[at] !== value[matched]) matched = borders[matched - 1] ?? 0;
    if (text[at] === value[matched]) matched++;
  }
  return matched;
}

/** For each beginning of a value, how much of its end is a beginning too. */
function bordersOf(value: string): Uint32Array {
  const borders = new Uint32Array(value.length);
  for (let at = 1, matched = 0; at < value.length; at++) {
    while (matched > 0 && value[at] !== value[matched]) matched = borders[matched - 1] ?? 0;
    if (value[at] === value[matched]) matched++;
    borders[at] = matched;
  }
  return borders;
}

/** Adds a range that begins no earlier than the last one. */
function add(ranges: Range[], [from, to]: Range): void {
  const last = ranges.at(-1);
  if (last !== undefined && from <= last[1]) ranges[ranges.length - 1] = [last[0], Math.max(last[1], to)];
  else ranges.push([from, to]);
}

function merged(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const range of ranges.toSorted(([a], [b]) => a - b)) add(result, range);
  return result;
}

/** A piece of a text that begins at `start`: the mask stands where a range begins, and the rest of a range is left out. */
function maskPart(text: string, start: number, ranges: readonly Range[], mask: string): string {
  let shown = "";
  let at = 0;
  for (const [from, to] of ranges) {
    if (to <= start) continue;
    if (from >= start + text.length) break;
    shown += text.slice(at, Math.max(0, from - start));
    if (from >= start) shown += mask;
    at = Math.min(text.length, to - start);
  }
  return shown + text.slice(at);
}
