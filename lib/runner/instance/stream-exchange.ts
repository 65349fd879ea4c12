import type { FunctionResponse } from "../../domain/calls/http-message.ts";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import type { Reason } from "../../domain/errors.ts";
import type { InstanceStream, StreamReader } from "../gate-protocol/instance-stream.ts";
import type { Outcome } from "./outcome.ts";

/** Opens a stream to the function. */
export type OpenStream = (reader: StreamReader) => InstanceStream;

/** A call in the terms of a contract that speaks to functions over streams. */
export interface StreamExchange {
  /** Opens a stream, sends the request and reads the answer. */
  readonly begin: (open: OpenStream, listener: AnswerListener) => Dialogue;
  /** Lines that the contract adds to the log of the call, in front of what the function prints and behind it. */
  readonly lines?: { readonly first: string; readonly last: (end: CallEnd) => string };
}

/** The facts of a call that has ended, for a contract that reports them in its log. */
export interface CallEnd extends Pick<Outcome, "status" | "reason" | "exit_code" | "signal"> {
  readonly run_ms: number;
  /** At the first call of an instance. */
  readonly boot_ms: number | undefined;
  readonly peak_memory_bytes: number | null;
}

/** An exchange that is under way. */
export interface Dialogue {
  /** Ends it: closes the stream, and has the body of the answer fail with this error where its reader is now. */
  stop(error: Error): void;
  /** The bytes of the request's body that were handed over. */
  readonly sent_bytes: number;
  /** The bytes of the answer's body that have come. */
  readonly response_bytes: number;
}

/** The answer of a function, and what it means for the record. */
export interface StreamAnswer extends Pick<Outcome, "reason" | "message" | "wish"> {
  readonly status: "succeeded" | "failed";
  readonly response: FunctionResponse;
  /** Lines for the call's log about what of the answer is left out. */
  readonly notes?: readonly string[];
}

/** Hears of an answer. After `ended`, `failed` or `stop()` nothing more is said. */
export interface AnswerListener {
  /** The head is there. The body is still arriving, unless `ended` follows at once. */
  readonly answered: (answer: StreamAnswer) => void;
  /** The answer is whole, or has failed in its middle, but the function is still at the call: `ended` follows. */
  readonly delivered: (failure?: { readonly reason: Reason; readonly message: string }) => void;
  /** The call is over, and its answer complete. `last` is true if the function can take no other. */
  readonly ended: (last?: boolean) => void;
  /** There is no answer, or no more of it. `lost` is true if the function closed the connection, perhaps because it has ended. */
  readonly failed: (failure: { readonly reason: Reason; readonly message: string; readonly lost: boolean }) => void;
  /** It is certain that nothing has reached the function, and `again` is true if the request is still whole. */
  readonly undelivered: (again: boolean) => void;
  /** The reader of the answer has left. */
  readonly left: () => void;
}

/** A call as a booted instance is handed it. */
export interface StreamCall extends StreamExchange {
  readonly timeout_ms: number;
  /** The moment of the clock (`monotonic`) by which the function must have the request; without it, any. */
  readonly by?: number;
  /** Aborts when nobody waits for the answer any longer. */
  readonly signal: AbortSignal;
  /** Called with the function's output as it comes. */
  readonly onLogs?: (entries: readonly LogEntry[]) => void;
}
