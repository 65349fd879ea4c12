import type { LogEntry } from "../../domain/calls/invocations.ts";
import { Redaction } from "./redaction.ts";

type Stream = LogEntry["stream"];

/** Output in smaller pieces than this is gathered into one entry as long as the stream is the same. */
const ENTRY_CHARACTERS = 8_192;

/**
 * The most entries; after that each stream goes on in its last one. Output that changes streams with every byte would
 * otherwise take thirty bytes of record for each.
 */
const ENTRIES = 2_000;

/**
 * Gathers a function's output as text: characters that a frame cut are joined, bytes that are not UTF-8 are replaced, and
 * the values of secrets are masked.
 */
export class LogCollector {
  readonly #decoders: Record<Stream, TextDecoder> = { stdout: decoder(), stderr: decoder() };
  readonly #entries: { stream: Stream; text: string }[] = [];
  /** Masks the values of secrets; undefined for a call without secrets. */
  readonly #redaction: Redaction | undefined;
  #bytes = 0;

  constructor(secrets: readonly string[] = []) {
    if (secrets.length > 0) this.#redaction = new Redaction(secrets);
  }

  /** The number of bytes so far. */
  get bytes(): number {
    return this.#bytes;
  }

  add(stream: Stream, bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    this.#append(stream, this.#decoders[stream].decode(bytes, { stream: true }));
  }

  /** Returns all entries so far, in order. */
  finish(): LogEntry[] {
    for (const stream of ["stdout", "stderr"] as const) this.#append(stream, this.#decoders[stream].decode());
    const entries = this.#entries.map((entry) => ({ ...entry }));
    return this.#redaction?.entries(entries) ?? entries;
  }

  /** Masks the values of secrets in a message about the call, as in its output. */
  mask(message: string): string {
    return this.#redaction?.text(message) ?? message;
  }

  #append(stream: Stream, text: string): void {
    if (text === "") return;
    const last = this.#entries.at(-1);
    if (last?.stream === stream && last.text.length < ENTRY_CHARACTERS) last.text += text;
    else if (this.#entries.length < ENTRIES) this.#entries.push({ stream, text });
    else this.#lastOf(stream).text += text;
  }

  #lastOf(stream: Stream): { text: string } {
    const found = this.#entries.findLast((entry) => entry.stream === stream);
    if (found !== undefined) return found;
    const first = { stream, text: "" };
    this.#entries.push(first);
    return first;
  }
}

/** Keeps a byte order mark at the beginning: it is output like any other. */
function decoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}
