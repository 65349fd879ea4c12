import type { LogEntry } from "../../domain/calls/invocations.ts";
import { timestamp } from "../../domain/types.ts";
import { cutBytes, type TimedText } from "./log-cut.ts";
import { Redaction } from "./redaction.ts";

type Stream = LogEntry["stream"];

/** Output in smaller pieces than this is gathered into one entry as long as the stream is the same. */
const ENTRY_CHARACTERS = 8_192;

/** Output within this time of the first in an entry is part of it, in milliseconds. */
export const ENTRY_MS = 10;

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

  /** Returns all entries so far, in order; `dropped` bytes of the output are in none. */
  finish(dropped = 0): LogEntry[] {
    for (const stream of ["stdout", "stderr"] as const) {
      const text = this.#decoders[stream]?.decode() ?? "";
      this.#appendText({ stream, text, at: this.#now(), bytes: 0 });
    }
    const middle = this.#streamed - Math.floor(this.#streamed / 2);
    const [head, rest] = this.#tail === 0 ? [this.#entries, []] : cutBytes(this.#entries, middle, this.#tail);
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
    this.#appendText({ stream, text, at, bytes: pending });
  }

  #appendText(added: TimedText): void {
    if (added.text === "") return;
    const last = this.#entries.at(-1);
    const joins = last?.stream === added.stream && added.at - last.at < ENTRY_MS;
    if (last !== undefined && joins && last.text.length < ENTRY_CHARACTERS) join(last, added);
    else if (this.#entries.length < this.#mostEntries) this.#entries.push({ ...added });
    else this.#joinLastOf(added);
  }

  #joinLastOf(added: TimedText): void {
    const found = this.#entries.findLast((entry) => entry.stream === added.stream);
    if (found === undefined) this.#entries.push({ ...added });
    else join(found, added);
  }
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
