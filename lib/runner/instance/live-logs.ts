import type { LogEntry } from "../../domain/calls/invocations.ts";
import { timestamp } from "../../domain/types.ts";
import { Redaction } from "./redaction.ts";

type Stream = LogEntry["stream"];

/** A piece of the end of a function's output, and when it was read, in milliseconds since 1970. */
export interface TailPiece {
  readonly stream: Stream;
  readonly bytes: Uint8Array;
  readonly at: number;
}

/** Passes on a function's output as it comes, with the values of secrets masked. */
export class LiveLogs {
  readonly #redaction: Redaction;
  readonly #tell: (entries: readonly LogEntry[]) => void;
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() } satisfies Record<Stream, TextDecoder>;
  /** The end of the output so far, which may be the beginning of a value. */
  readonly #rest = { stdout: "", stderr: "" } satisfies Record<Stream, string>;
  #at = 0;

  constructor(secrets: readonly string[], tell: (entries: readonly LogEntry[]) => void) {
    this.#redaction = new Redaction(secrets);
    this.#tell = tell;
  }

  add(stream: Stream, bytes: Uint8Array, at: number): void {
    this.#at = at;
    const text = this.#rest[stream] + this.#decoders[stream].decode(bytes, { stream: true });
    const { shown, rest } = this.#redaction.split(text);
    this.#rest[stream] = rest;
    if (shown !== "") this.#tell([{ stream, text: shown, time: timestamp(at) }]);
  }

  /** Passes on the end of the output beyond the limit; `dropped` bytes before it were not passed on. */
  addTail(pieces: readonly TailPiece[], dropped: number): void {
    if (dropped === 0) {
      for (const { stream, bytes, at } of pieces) this.add(stream, bytes, at);
      return this.end();
    }
    this.end();
    const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() } satisfies Record<Stream, TextDecoder>;
    const [first, ...others] = pieces.map(({ stream, bytes, at }): LogEntry => ({
      stream,
      text: decoders[stream].decode(bytes, { stream: true }),
      time: timestamp(at),
    }));
    if (first !== undefined)
      this.#tell(this.#redaction.entries([], [{ ...first, dropped_before_bytes: dropped }, ...others]));
  }

  /** Passes on what was held back. */
  end(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const text = this.#redaction.text(this.#rest[stream] + this.#decoders[stream].decode());
      this.#rest[stream] = "";
      if (text !== "") this.#tell([{ stream, text, time: timestamp(this.#at) }]);
    }
  }
}
