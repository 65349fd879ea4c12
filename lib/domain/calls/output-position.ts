import type { LogEntry } from "./invocations.ts";

type Stream = LogEntry["stream"];

/**
 * A place in the output of an invocation: the attempt, and how many characters of each stream come before it. It is the id
 * of its events, with which a client that was cut off goes on (`Last-Event-ID`). Characters are those of JavaScript.
 */
export class OutputPosition {
  #attempt = 0;
  readonly #sent: Record<Stream, number> = { stdout: 0, stderr: 0 };
  /** The characters that the client has already, of the attempt that it saw. */
  readonly #seen: { readonly attempt: number } & Readonly<Record<Stream, number>>;

  /** Begins where a client was cut off; without an id of ours at the beginning. */
  constructor(lastEventId: string | null) {
    const [, attempt = "0", stdout = "0", stderr = "0"] =
      /^(\d{1,9})-(\d{1,9})-(\d{1,9})$/.exec(lastEventId ?? "") ?? [];
    this.#seen = { attempt: Number(attempt), stdout: Number(stdout), stderr: Number(stderr) };
  }

  /** The id of an event that comes after all that was taken. */
  get id(): string {
    const { stdout, stderr } = this.#sent;
    return `${this.#attempt}-${stdout}-${stderr}`;
  }

  /** Moves to the beginning of an attempt, unless it is there already. */
  begin(attempt: number): void {
    if (attempt === this.#attempt) return;
    this.#attempt = attempt;
    this.#sent.stdout = 0;
    this.#sent.stderr = 0;
  }

  /**
   * Moves behind these entries and returns what the client does not have of them. What comes after a gap in the output is
   * all new: how long the gap was in characters is not known.
   */
  take(entries: readonly LogEntry[]): LogEntry[] {
    return entries.flatMap((entry) => {
      if (entry.dropped_before_bytes !== undefined) this.#skipped();
      const { stream, text } = entry;
      const before = this.#sent[stream];
      this.#sent[stream] += text.length;
      const known = this.#seen.attempt === this.#attempt ? Math.max(0, this.#seen[stream] - before) : 0;
      const rest = text.slice(known);
      return rest === "" && text !== "" ? [] : [{ ...entry, text: rest }];
    });
  }

  /** Goes on behind all that the client has. */
  #skipped(): void {
    if (this.#seen.attempt !== this.#attempt) return;
    for (const stream of ["stdout", "stderr"] as const)
      this.#sent[stream] = Math.max(this.#sent[stream], this.#seen[stream]);
  }
}
