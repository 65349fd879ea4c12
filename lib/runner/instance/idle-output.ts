import type { LogEntry } from "../../domain/calls/invocations.ts";
import { lastOf } from "../last-boots.ts";
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

  /** The output so far; more may follow. */
  get entries(): readonly LogEntry[] {
    return this.#logs.bytes === 0 ? [] : this.#logs.finish();
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

/**
 * The output of an instance between its boot and its first call: an app listens first and says so then. Its end stays once it is
 * closed, and keeps nothing of the instance.
 */
export class OutputSinceBoot {
  #source: IdleOutput | undefined;
  #kept: readonly LogEntry[] = [];

  constructor(source: IdleOutput) {
    this.#source = source;
  }

  get entries(): readonly LogEntry[] {
    return this.#source?.entries ?? this.#kept;
  }

  /** Notes that the first call has begun, or that the instance has gone. */
  close(): void {
    this.#kept = lastOf(this.entries);
    this.#source = undefined;
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
