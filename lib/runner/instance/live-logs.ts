import type { LogEntry } from "../../domain/calls/invocations.ts";
import { Redaction } from "./redaction.ts";

type Stream = LogEntry["stream"];

/** Passes on a function's output as it comes, with the values of secrets masked. */
export class LiveLogs {
  readonly #redaction: Redaction;
  readonly #tell: (entries: readonly LogEntry[]) => void;
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() } satisfies Record<Stream, TextDecoder>;
  /** The end of the output so far, which may be the beginning of a value. */
  readonly #rest = { stdout: "", stderr: "" } satisfies Record<Stream, string>;

  constructor(secrets: readonly string[], tell: (entries: readonly LogEntry[]) => void) {
    this.#redaction = new Redaction(secrets);
    this.#tell = tell;
  }

  add(stream: Stream, bytes: Uint8Array): void {
    const text = this.#rest[stream] + this.#decoders[stream].decode(bytes, { stream: true });
    const { shown, rest } = this.#redaction.split(text);
    this.#rest[stream] = rest;
    if (shown !== "") this.#tell([{ stream, text: shown }]);
  }

  /** Passes on what was held back. Nothing more will come. */
  end(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const text = this.#redaction.text(this.#rest[stream] + this.#decoders[stream].decode());
      this.#rest[stream] = "";
      if (text !== "") this.#tell([{ stream, text }]);
    }
  }
}
