import type { LogEntry } from "../../domain/calls/invocations.ts";
import { Redaction } from "./redaction.ts";

type Stream = LogEntry["stream"];

/** Output that came in pieces smaller than this is gathered into one entry as long as the stream is the same. */
const ENTRY_CHARACTERS = 8_192;

/**
 * As many entries are told apart; after that each stream goes on in its last one. Output that changes streams with every
 * byte would otherwise make thirty bytes of record of each.
 */
const ENTRIES = 2_000;

/**
 * Gathers what a function prints as text: characters that were cut by a frame are put together, bytes that are no UTF-8
 * replaced, and the values of secrets masked.
 */
export class LogCollector {
  readonly #decoders: Record<Stream, TextDecoder> = { stdout: decoder(), stderr: decoder() };
  readonly #entries: { stream: Stream; text: string }[] = [];
  readonly #redaction: Redaction;
  #bytes = 0;

  constructor(secrets: readonly string[] = []) {
    this.#redaction = new Redaction(secrets);
  }

  /** Bytes so far. */
  get bytes(): number {
    return this.#bytes;
  }

  add(stream: Stream, bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    this.#append(stream, this.#decoders[stream].decode(bytes, { stream: true }));
  }

  /** All entries so far, in order. */
  finish(): LogEntry[] {
    for (const stream of ["stdout", "stderr"] as const) this.#append(stream, this.#decoders[stream].decode());
    return this.#redaction.entries(this.#entries.map((entry) => ({ ...entry })));
  }

  /** A message about the call, with the values of secrets masked as in its output. */
  mask(message: string): string {
    return this.#redaction.text(message);
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

/** A byte order mark at the beginning is output like any other. */
function decoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}
