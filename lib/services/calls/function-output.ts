import type { Clock } from "../../clock.ts";
import { endOfCall, type FunctionCallEnd, type FunctionLogEntry } from "../../domain/calls/views/function-logs.ts";
import type { FunctionOutput } from "../../domain/calls/views/function-logs.ts";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import type { InvocationEvent } from "./events.ts";

/** The interval at which output is passed on, in milliseconds: thousands of calls a second become a few messages. */
const PIECE_MS = 200;
/** The most of one piece: entries, the characters of their texts, and ends. Of more, the latest are passed on. */
const PIECE = { entries: 500, characters: 256 * 1024, ends: 200 } as const;

/** Gathers the output of a function's calls, whatever their number, into pieces of a limited size for one reader. */
export class FunctionOutputPieces implements Disposable {
  readonly #clock: Pick<Clock, "after">;
  readonly #pass: (piece: FunctionOutput) => void;
  #entries: FunctionLogEntry[] = [];
  #ends: FunctionCallEnd[] = [];
  #characters = 0;
  #leftOut = 0;
  #cancel: (() => void) | undefined;

  /** Calls `pass` with each piece. */
  constructor(clock: Pick<Clock, "after">, pass: (piece: FunctionOutput) => void) {
    this.#clock = clock;
    this.#pass = pass;
  }

  /** Takes an event of one of the calls. */
  take(invocationId: string, event: InvocationEvent): void {
    if (event.type === "log") this.takeEntries(invocationId, event.entries);
    else if (event.invocation.status !== "running") this.takeEnd(event.invocation);
  }

  takeEntries(invocation_id: string, entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      this.#entries.push({ invocation_id, ...entry });
      this.#characters += entry.text.length;
    }
    while (this.#entries.length > PIECE.entries || (this.#characters > PIECE.characters && this.#entries.length > 1)) {
      this.#characters -= this.#entries.shift()?.text.length ?? 0;
      this.#leftOut++;
    }
    this.#passSoon();
  }

  /** Takes the end of a call or of an attempt. One that waits for its first attempt has not ended. */
  takeEnd(invocation: Invocation): void {
    if (invocation.status === "queued" && invocation.attempts === 0) return;
    this.#ends.push(endOfCall(invocation));
    if (this.#ends.length > PIECE.ends) {
      this.#ends.shift();
      this.#leftOut++;
    }
    this.#passSoon();
  }

  /** Passes on what there is. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#entries.length === 0 && this.#ends.length === 0) return;
    const piece = { entries: this.#entries, ends: this.#ends, left_out: this.#leftOut };
    this.#entries = [];
    this.#ends = [];
    this.#characters = 0;
    this.#leftOut = 0;
    this.#pass(piece);
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #passSoon(): void {
    this.#cancel ??= this.#clock.after(PIECE_MS, () => this.flush());
  }
}
