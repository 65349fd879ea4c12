import { CollectedBytes } from "../../domain/calls/collected-bytes.ts";
import {
  ANY_BYTES_TYPE,
  type FunctionResponse,
  type ResponseHeader,
  WITHOUT_BODY,
} from "../../domain/calls/http-message.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { CGI_HEAD_BYTES, STREAMED_FROM_BYTES } from "../../domain/limits.ts";
import { ArrivingBody } from "../gate-protocol/arriving-body.ts";
import type { ExitFrame } from "../gate-protocol/frames.ts";
import { type AnswerFiles, failed, finished, type Outcome, type RunFacts, usageOf } from "../instance/outcome.ts";
import type { OutputListener, OutputReader } from "../instance/output-reader.ts";
import { OUT_OF_MEMORY } from "../platform.ts";
import { hasCgiHead, parseCgiOutput } from "./cgi-head.ts";
import { endingOf, hasSucceeded, ranOutOfMemory } from "./ending.ts";

type PrintingFunction = Pick<Function, "content_type" | "output" | "stream">;

/** An answer as it is printed, without its body, and the bytes that it begins with. */
interface PrintedHead {
  readonly status: number;
  readonly headers: readonly ResponseHeader[];
  readonly dropped: readonly string[];
  readonly body: Uint8Array;
}

/**
 * Makes an answer of what a function prints. A short one waits for the end of the function, whose exit code decides on it. A longer one
 * begins while the function runs, and a failure after that is the end of its body; with `stream` each one does, with its first byte.
 */
export class StdioOutput implements OutputReader {
  readonly #fn: PrintingFunction;
  readonly #facts: RunFacts;
  readonly #listener: OutputListener;
  readonly #isCollected: boolean;
  /** The output of an answer that has not begun. */
  readonly #kept = new CollectedBytes();
  #arriving: ArrivingBody | undefined;
  /** True if nobody wants more of the output: of an answer without a body, or one that has failed. */
  #isDropped = false;
  #length = 0;

  /** An answer that is `collected` never begins before the end of its function. */
  constructor(fn: PrintingFunction, { collected, facts, listener }: StdioOutputOptions) {
    this.#fn = fn;
    this.#facts = facts;
    this.#listener = listener;
    this.#isCollected = collected;
  }

  push(bytes: Uint8Array): void {
    this.#length += bytes.length;
    if (this.#isDropped) return this.#listener.consumed(bytes.length);
    if (this.#arriving !== undefined) return this.#arriving.push(bytes);
    this.#kept.add(bytes);
    // Less waits for the beginning of the answer than there is credit for.
    if (this.#isCollected) this.#listener.consumed(bytes.length);
    else if (this.#mayBegin(bytes.length)) this.#begin();
  }

  judge(exit: ExitFrame): Outcome {
    if (this.#arriving === undefined) return judgeOutput(this.#fn, exit, { response: this.#kept.all }, this.#facts);
    const outcome = judgeEnd(exit, this.#length, this.#facts);
    if (outcome.status === "succeeded") this.#arriving.end();
    return outcome;
  }

  fail(error: Error): void {
    this.#isDropped = true;
    this.#arriving?.fail(error);
  }

  /** Returns whether the answer can begin, now that so many bytes more are there. */
  #mayBegin(more: number): boolean {
    const { output, stream } = this.#fn;
    const { all, length } = this.#kept;
    if (!stream && length <= STREAMED_FROM_BYTES) return false;
    return output === "raw" || length > CGI_HEAD_BYTES || hasCgiHead(all, length - more);
  }

  #begin(): void {
    const head = headOf(this.#fn, this.#kept.all);
    if ("problem" in head) {
      this.#isDropped = true;
      return this.#listener.failed("invalid_response", `The function's output ${head.problem}: see its logs`);
    }
    // It is sent when the function has ended, whatever else that prints.
    if (WITHOUT_BODY.has(head.status)) {
      this.#isDropped = true;
      return this.#listener.consumed(this.#kept.length);
    }
    noteDropped(head, this.#facts);
    const body = (this.#arriving = new ArrivingBody(this.#listener, () => this.#listener.left()));
    this.#listener.consumed(this.#kept.length - head.body.length);
    this.#kept.take();
    if (head.body.length > 0) body.push(head.body);
    this.#listener.begun({ ...responseOf(head, this.#fn, true), body: body.stream });
  }
}

interface StdioOutputOptions {
  readonly collected: boolean;
  readonly facts: RunFacts;
  readonly listener: OutputListener;
}

/** Judges a function that has ended by the gate's report and what it has printed. */
export function judgeOutput(
  fn: Pick<Function, "content_type" | "output">,
  exit: ExitFrame,
  { response }: Pick<AnswerFiles, "response">,
  facts: RunFacts,
): Outcome {
  const problem = problemOf(exit, response.length, facts);
  if (problem !== undefined) return problem;
  const success = hasSucceeded(exit);
  const message = endingOf(exit);
  const usage = usageOf(exit, response.length);
  if (!success && response.length === 0) {
    return failed(facts, "function_failed", `${message} and printed no response: see its logs`, usage);
  }
  const printed = headOf(fn, response);
  if ("problem" in printed) {
    return failed(facts, "invalid_response", `${message}, and its output ${printed.problem}: see its logs`, usage);
  }
  noteDropped(printed, facts);
  const answer = { wish: {}, response: { ...responseOf(printed, fn, success), body: printed.body }, ...usage };
  if (success) return finished(facts, { status: "succeeded", reason: null, message: null, ...answer });
  return finished(facts, { status: "failed", reason: "function_failed", message, ...answer });
}

/** Judges a function that has ended when its answer had begun. */
function judgeEnd(exit: ExitFrame, printed: number, facts: RunFacts): Outcome {
  const problem = problemOf(exit, printed, facts);
  if (problem !== undefined) return problem;
  const known = { wish: {}, response: null, ...usageOf(exit, printed) };
  if (hasSucceeded(exit)) return finished(facts, { status: "succeeded", reason: null, message: null, ...known });
  return finished(facts, { status: "failed", reason: "function_failed", message: endingOf(exit), ...known });
}

/** Returns the outcome of a function that was ended for what it used, or nothing. */
function problemOf(exit: ExitFrame, printed: number, facts: RunFacts): Outcome | undefined {
  // The function was killed for it, and a signal or a lack of memory that came of that says nothing.
  if (exit.responseState === "over_limit") {
    const message = `The function was ended, as it printed more than the limit of ${facts.response_limit} bytes: see its logs`;
    return failed(facts, "response_too_large", message, usageOf(exit));
  }
  return ranOutOfMemory(exit) ? failed(facts, "out_of_memory", OUT_OF_MEMORY, usageOf(exit, printed)) : undefined;
}

const FAILED_STATUS = 500;
const PLAIN = { status: 200, headers: [], dropped: [] };

function headOf({ output }: Pick<Function, "output">, printed: Uint8Array): PrintedHead | { readonly problem: string } {
  return output === "cgi" ? parseCgiOutput(printed) : { ...PLAIN, body: printed };
}

function noteDropped({ dropped }: PrintedHead, { logs }: RunFacts): void {
  for (const line of dropped) logs.note(`slipway: ${line}\n`);
}

/** Returns status and headers of an answer; the printed status counts only if the function does not fail. */
function responseOf(
  { status, headers }: PrintedHead,
  { content_type }: Pick<Function, "content_type">,
  success: boolean,
): Omit<FunctionResponse, "body"> {
  const sent = success ? status : FAILED_STATUS;
  return { status: sent, headers: withType(sent, headers, content_type ?? ANY_BYTES_TYPE) };
}

function withType(status: number, headers: readonly ResponseHeader[], type: string): FunctionResponse["headers"] {
  const has = WITHOUT_BODY.has(status) || headers.some(([name]) => name === "content-type");
  return has ? headers : [...headers, ["content-type", type]];
}
