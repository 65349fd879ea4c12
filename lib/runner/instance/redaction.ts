import type { LogEntry } from "../../domain/calls/invocations.ts";

/** Shorter values are not masked: a secret `1` would mask every number. */
const MASKED_BYTES = 4;
/** The first of these whose character is in no value is the mask, so that a mask and its surroundings never form a value. */
const MASKS = ["***", "###", "===", "\u2588\u2588\u2588"] as const;

/** A range from the first masked character to the one after the last. */
type Range = readonly [from: number, to: number];

/**
 * Hides the values of secrets in a function's output and in messages about it. A value is found across the entries of one
 * stream, also without the white space at its ends, and if the stream ends within it.
 */
export class Redaction {
  readonly #values: readonly string[];
  /** Nothing if the values contain the characters of all masks: then no text is shown that contains a value. */
  readonly #mask: string | undefined;

  constructor(values: readonly string[]) {
    this.#values = [...new Set(values.map(core))].filter((value) => value !== "");
    this.#mask = MASKS.find((mask) => this.#values.every((value) => !value.includes(mask.charAt(0))));
  }

  /** Returns the same text without the values. */
  text(text: string): string {
    return this.#apply([text])[0] ?? "";
  }

  /**
   * Returns the same entries without the values, and without those that held nothing else. Something may be missing between
   * `entries` and the `end` of the output: then the end may begin within a value.
   */
  entries(entries: readonly LogEntry[], end: readonly LogEntry[] = []): LogEntry[] {
    const all = [...entries, ...end];
    if (this.#values.length === 0) return all;
    const shown = new Map<LogEntry, string>();
    for (const stream of ["stdout", "stderr"] as const) {
      const own = all.filter((entry) => entry.stream === stream);
      const head = entries.reduce((length, entry) => length + (entry.stream === stream ? entry.text.length : 0), 0);
      const texts = own.map(({ text }) => text);
      const masked = end.length === 0 ? this.#apply(texts) : this.#apply(texts, head);
      masked.forEach((text, index) => own[index] && shown.set(own[index], text));
    }
    return all
      .map((entry) => ({ ...entry, text: shown.get(entry) ?? "" }))
      .filter(({ text, dropped_before_bytes }) => text !== "" || dropped_before_bytes !== undefined);
  }

  /**
   * Splits a text that goes on into the part that can be shown now and the rest, which may be the beginning of a value and
   * belongs before the next text.
   */
  split(text: string): { readonly shown: string; readonly rest: string } {
    let cut = Math.min(text.length, ...this.#values.map((value) => text.length - begun(text, value)));
    for (const [from, to] of merged(this.#values.flatMap((value) => occurrences(text, value))).toReversed())
      if (from < cut && to > cut) cut = from;
    return { shown: this.text(text.slice(0, cut)), rest: text.slice(cut) };
  }

  /** Masks the values in texts that follow one another, except that something may be missing at `gap`. */
  #apply(texts: readonly string[], gap?: number): string[] {
    const joined = texts.join("");
    const around = gap === undefined ? [] : this.#values.flatMap((value) => aroundGap(joined, value, gap));
    const ranges = merged([...this.#values.flatMap((value) => occurrences(joined, value)), ...around]);
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

/** Returns the beginning of a value at the end of what is before a gap, and the end of one that begins what is after it. */
function aroundGap(text: string, value: string, gap: number): Range[] {
  const after = text.slice(gap);
  const end = occurrences(reversed(after), reversed(value)).at(-1);
  const begins: Range[] = end?.[1] === after.length ? [[gap, text.length - end[0]]] : [];
  // All that is after the gap may lie within one value.
  if (after.length >= MASKED_BYTES && value.includes(after)) begins.push([gap, text.length]);
  return [...occurrences(text.slice(0, gap), value), ...begins];
}

/** Reverses the code units of a text, which may be none of Unicode's then. */
function reversed(text: string): string {
  return Array.from({ length: text.length }, (_, at) => text[text.length - 1 - at]).join("");
}

/** Returns the part of a value to look for: the value without white space at its ends; nothing if that is short. */
function core(value: string): string {
  const trimmed = value.trim();
  if (Buffer.byteLength(trimmed) >= MASKED_BYTES) return trimmed;
  return Buffer.byteLength(value) >= MASKED_BYTES ? value : "";
}

/**
 * Returns where a value occurs, overlaps included, and where the text ends with four or more of its first characters. Takes
 * linear time (Knuth, Morris and Pratt), since the function chooses the text.
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

/** Counts the first characters of a value that the text ends with. A whole value counts as far as it may begin another. */
function begun(text: string, value: string): number {
  const borders = bordersOf(value);
  let matched = 0;
  for (let at = Math.max(0, text.length - value.length + 1); at < text.length; at++) {
    while (matched > 0 && text[at] !== value[matched]) matched = borders[matched - 1] ?? 0;
    if (text[at] === value[matched]) matched++;
  }
  return matched;
}

/** Returns for each beginning of a value how much of its end is also a beginning. */
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

/** Returns a piece of a text that begins at `start`, with a mask where a range begins and without the rest of the range. */
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
