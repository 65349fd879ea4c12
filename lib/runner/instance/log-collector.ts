import type { LogEntry } from "../../domain/calls/invocations.ts";
import { timestamp } from "../../domain/types.ts";
import { cutBytes, type TimedText } from "./log-cut.ts";
import { Redaction } from "./redaction.ts";

type Stream = LogEntry["stream"];

/** Output in smaller pieces than this is gathered into one entry as long as the stream is the same. */
const ENTRY_CHARACTERS = 8_192;

/** Output within this time of the first in an entry is part of it, in milliseconds. */
export const ENTRY_MS = 10;

/** The most bytes of a character that is not complete. */
const PARTIAL_BYTES = 3;

/**
 * The most entries of the beginning, and of the end; after that each stream goes on in its last one. Output that changes
 * streams with every byte would otherwise take sixty bytes of record for each.
 */
const ENTRIES = 2_000;

/**
 * Gathers a function's output as text: characters that a frame cut are joined, bytes that are not UTF-8 are replaced, and
 * the values of secrets are masked. If there is more than the limit, the first half of it and the last are kept.
 */
export class LogCollector {
  /** Made with the first bytes of a stream: many calls print nothing. */
  readonly #decoders: Partial<Record<Stream, TextDecoder>> = {};
  /** Bytes of characters that are not complete. */
  readonly #pending: Record<Stream, number> = { stdout: 0, stderr: 0 };
  /** The last bytes of each stream: what a character that is not complete has at most. */
  readonly #last: Partial<Record<Stream, Uint8Array>> = {};
  readonly #entries: TimedText[] = [];
  /** Masks the values of secrets; undefined for a call without secrets. */
  readonly #redaction: Redaction | undefined;
  readonly #now: () => number;
  #mostEntries = ENTRIES;
  #bytes = 0;
  /** The bytes that came while the function ran, and those of the end of what it printed beyond the limit. */
  #streamed = 0;
  #tail = 0;

  /** `now` returns milliseconds since 1970. */
  constructor(now: () => number, secrets: readonly string[] = []) {
    this.#now = now;
    if (secrets.length > 0) this.#redaction = new Redaction(secrets);
  }

  /** The number of bytes that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes output of the function, as it comes. */
  add(stream: Stream, bytes: Uint8Array, at = this.#now()): void {
    this.#bytes += bytes.length;
    this.#streamed += bytes.length;
    this.#append(stream, bytes, at);
  }

  /** Takes the end of the output that was beyond the limit; it takes the place of as much in the middle. */
  addTail(stream: Stream, bytes: Uint8Array, at: number): void {
    if (this.#tail === 0) this.#mostEntries = this.#entries.length + ENTRIES;
    this.#tail += bytes.length;
    this.#append(stream, bytes, at);
  }

  /** Adds a line of ours about the call. */
  note(line: string): void {
    const bytes = Buffer.from(line);
    this.#bytes += bytes.length;
    this.#append("stderr", bytes, this.#now());
  }

  /**
   * Returns all entries so far, in order; `dropped` bytes of the output are in none. More output may follow: a character that is not
   * complete is a replacement in what this returns, and whole the next time.
   */
  finish(dropped = 0): LogEntry[] {
    const entries = this.#withIncomplete();
    const middle = this.#streamed - Math.floor(this.#streamed / 2);
    const [head, rest] = this.#tail === 0 ? [entries, []] : cutBytes(entries, middle, this.#tail);
    const [first, ...others] = rest.map(shown);
    const end =
      first === undefined ? [] : [{ ...first, dropped_before_bytes: Math.max(dropped, this.#tail) }, ...others];
    return this.#redaction?.entries(head.map(shown), end) ?? [...head.map(shown), ...end];
  }

  /** Masks the values of secrets in a message about the call, as in its output. */
  mask(message: string): string {
    return this.#redaction?.text(message) ?? message;
  }

  #append(stream: Stream, bytes: Uint8Array, at: number): void {
    const text = (this.#decoders[stream] ??= decoder()).decode(bytes, { stream: true });
    const pending = this.#pending[stream] + bytes.length;
    this.#pending[stream] = text === "" ? pending : 0;
    const before = this.#last[stream];
    const last = before === undefined || bytes.length >= PARTIAL_BYTES ? bytes : Buffer.concat([before, bytes]);
    this.#last[stream] = Uint8Array.from(last.subarray(-PARTIAL_BYTES)); // a copy: the piece is not ours
    this.#appendText({ stream, text, at, bytes: pending });
  }

  /** Returns the entries, with what stands for characters that are not complete. */
  #withIncomplete(): TimedText[] {
    const added = (["stdout", "stderr"] as const).flatMap((stream) => {
      const text = incompleteEnd(this.#last[stream]);
      return text === "" ? [] : [{ stream, text, at: this.#now(), bytes: 0 }];
    });
    if (added.length === 0) return this.#entries;
    const copies = this.#entries.map((entry) => ({ ...entry }));
    for (const text of added) this.#appendText(text, copies);
    return copies;
  }

  #appendText(added: TimedText, entries = this.#entries): void {
    if (added.text === "") return;
    const last = entries.at(-1);
    const joins = last?.stream === added.stream && added.at - last.at < ENTRY_MS;
    if (last !== undefined && joins && last.text.length < ENTRY_CHARACTERS) join(last, added);
    else if (entries.length < this.#mostEntries) entries.push({ ...added });
    else joinLastOf(entries, added);
  }
}

function joinLastOf(entries: TimedText[], added: TimedText): void {
  const found = entries.findLast((entry) => entry.stream === added.stream);
  if (found === undefined) entries.push({ ...added });
  else join(found, added);
}

/** Returns what a decoder would say of the end of a text whose last bytes these are. A character that is cut off begins in them. */
function incompleteEnd(last: Uint8Array | undefined): string {
  if ((last?.at(-1) ?? 0) < 0x80) return "";
  const ending = decoder();
  ending.decode(last, { stream: true });
  return ending.decode();
}

function join(entry: TimedText, { text, bytes }: TimedText): void {
  entry.text += text;
  entry.bytes += bytes;
}

function shown({ stream, text, at }: TimedText): LogEntry {
  return { stream, text, time: timestamp(at) };
}

/** Keeps a byte order mark at the beginning: it is output like any other. */
function decoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}
