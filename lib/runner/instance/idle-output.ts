import type { LogEntry } from "../../domain/calls/invocations.ts";
import { LogCollector } from "./log-collector.ts";

type Stream = LogEntry["stream"];

/** The output of an instance before a call: of its boot, or since the call before. */
export interface EarlierOutput {
  readonly entries: readonly LogEntry[];
  readonly bytes: number;
}

const NO_OUTPUT: EarlierOutput = { entries: [], bytes: 0 };

/** Gathers what an instance prints while it has no call. */
export class IdleOutput {
  readonly #now: () => number;
  readonly #secrets: readonly string[];
  #logs: LogCollector;

  /** `now` returns milliseconds since 1970. */
  constructor(now: () => number, secrets: readonly string[]) {
    this.#now = now;
    this.#secrets = secrets;
    this.#logs = new LogCollector(now, secrets);
  }

  log(stream: Stream, bytes: Uint8Array): void {
    this.#logs.add(stream, bytes);
  }

  /** Takes output beyond the limit, which was read so many milliseconds ago. */
  logTail(stream: Stream, bytes: Uint8Array, ageMs: number): void {
    this.#logs.addTail(stream, bytes, this.#now() - ageMs);
  }

  /** Returns the output so far, and begins anew. */
  take(): EarlierOutput {
    if (this.#logs.bytes === 0) return NO_OUTPUT;
    const { bytes } = this.#logs;
    const entries = this.#logs.finish();
    this.#logs = new LogCollector(this.#now, this.#secrets);
    return { entries, bytes };
  }
}

/** Returns the output of a boot with its mark. */
export function markedAsBoot({ entries, bytes }: EarlierOutput): EarlierOutput {
  return { entries: entries.map((entry) => ({ ...entry, boot: true as const })), bytes };
}

/** Returns one output behind another. */
export function joined(first: EarlierOutput | undefined, second: EarlierOutput): EarlierOutput {
  if (first === undefined) return second;
  return { entries: [...first.entries, ...second.entries], bytes: first.bytes + second.bytes };
}
