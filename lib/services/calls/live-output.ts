import type { LogEntry } from "../../domain/calls/invocations.ts";

/** Output in smaller pieces than this is gathered into one entry as long as stream and time are the same. */
const ENTRY_CHARACTERS = 8_192;
/** The most entries; after that each stream goes on in its last one. */
const ENTRIES = 2_000;

type Gathered = { -readonly [K in keyof LogEntry]: LogEntry[K] };

/** The output so far of a function that runs. It is as long as `log_bytes` lets it be, and is forgotten at the end. */
export class LiveOutput {
  readonly #entries: Gathered[] = [];

  add(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.#add(entry);
  }

  /** Returns the output so far. */
  get entries(): LogEntry[] {
    return this.#entries.map((entry) => ({ ...entry }));
  }

  #add(entry: LogEntry): void {
    const last = this.#entries.at(-1);
    const isNew = entry.dropped_before_bytes !== undefined;
    if (
      last &&
      !isNew &&
      last.stream === entry.stream &&
      last.time === entry.time &&
      last.text.length < ENTRY_CHARACTERS
    )
      last.text += entry.text;
    else if (isNew || this.#entries.length < ENTRIES) this.#entries.push({ ...entry });
    else this.#joinLastOf(entry);
  }

  #joinLastOf(entry: LogEntry): void {
    const found = this.#entries.findLast(({ stream }) => stream === entry.stream);
    if (found === undefined) this.#entries.push({ ...entry });
    else found.text += entry.text;
  }
}
