import type { FunctionResponse } from "../../domain/calls/http-message.ts";
import type { Reason } from "../../domain/errors.ts";
import type { ExitFrame } from "../gate-protocol/frames.ts";
import type { Outcome, RunFacts } from "./outcome.ts";

/** Takes what a function prints as its answer, and makes one of it: as a whole when the function has ended, or while it runs. */
export interface OutputReader {
  /** Takes a piece of the output. */
  push(bytes: Uint8Array): void;
  /** Judges a function that has ended. If its answer has begun, a success is the end of its body. */
  judge(exit: ExitFrame): Outcome;
  /** Has the body of an answer that has begun fail with this error. Pieces that follow are dropped. */
  fail(error: Error): void;
}

/** Hears of an answer that is made of the output. */
export interface OutputListener {
  /** The answer begins; its body is still arriving. */
  readonly begun: (response: FunctionResponse) => void;
  /** So many bytes were passed on: the function may print as many more. */
  readonly consumed: (bytes: number) => void;
  /** The output can be no answer. */
  readonly failed: (reason: Reason, message: string) => void;
  /** The reader of the answer has left. */
  readonly left: () => void;
}

/** Begins to read the output of a call. */
export type ReadOutput = (facts: RunFacts, listener: OutputListener) => OutputReader;
