import type { FunctionRequest, FunctionResponse } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Target } from "./record.ts";

/** A call as it came in. */
export interface InvokeCall {
  /** Becomes the id of the invocation. */
  readonly id: string;
  readonly target: Target;
  readonly request: FunctionRequest;
  /** Aborts when the client goes away, or with an `AppError` if the body that it sends is refused. */
  readonly signal: AbortSignal;
  /** True if the answer is to be stored: its body is then one that has arrived. */
  readonly collect?: boolean;
  /** True if its record is read as soon as it has ended: then it is written at once. */
  readonly reads_record?: true;
  /** True if another server has passed it on: it is refused if there is no instance ready for it, and leaves no record then. */
  readonly ready_only?: true;
  /** Called when it has its instance. */
  readonly onStart?: () => void;
}

/** A call that another server has answered. */
export interface PassedOn {
  readonly answer: Answer;
  /** Resolves when the body of the answer has come to its end, or will not. */
  readonly answered: Promise<void>;
  /** Resolves when the record is final, and written; or if that is not known. Neither of both rejects. */
  readonly recorded: Promise<void>;
}

/** Other servers, which may have an instance ready when there is none here. */
export interface Elsewhere {
  /**
   * Has one of them answer a call; undefined if it is to be made here. `stopped` aborts when this server ends its calls. Throws
   * `instance_lost` if one may have run it; and the reason why it was ended here if one runs it, and so writes its record.
   */
  invoke(call: InvokeCall, stopped: AbortSignal): Promise<PassedOn | undefined> | undefined;
}

/** A call with its function as it runs, and what ends it. */
export interface BegunCall extends InvokeCall {
  readonly function: Function;
  readonly abort: AbortController;
}

/** An invocation with the function's own answer, or with null if the record says why there is none. */
export interface Answer {
  readonly invocation: Invocation;
  readonly response: FunctionResponse | null;
  /** True if the call was never handed to the function. */
  readonly not_begun?: true;
  /** Seconds after which another attempt makes sense, if that is known. */
  readonly retry_after_s?: number;
}
