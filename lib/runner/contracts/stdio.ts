import {
  ANY_BYTES_TYPE,
  bytesOf,
  type FunctionResponse,
  type ResponseHeader,
  WITHOUT_BODY,
} from "../../domain/calls/http-message.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { ExitFrame, GateFile } from "../gate-protocol/frames.ts";
import type { Exchange } from "../instance/active-call.ts";
import { type AnswerFiles, failed, finished, type Outcome, type RunFacts, usageOf } from "../instance/outcome.ts";
import { OUT_OF_MEMORY } from "../platform.ts";
import { parseCgiOutput } from "./cgi-head.ts";
import { cgiVariables } from "./cgi-variables.ts";
import type { Contract, ContractCall } from "./contract.ts";
import { endingOf, hasSucceeded, ranOutOfMemory } from "./ending.ts";

/**
 * The contract `stdio`: the function reads the request body from its standard input and the rest of the request from the
 * variables of CGI/1.1, prints its answer to its standard output, and exits. Its context is empty.
 */
export const STDIO: Contract = {
  exchange: (call) => {
    const { body } = call.request;
    return body instanceof Uint8Array ? exchangeOf(call, body) : bytesOf(body).then((bytes) => exchangeOf(call, bytes));
  },
};

function exchangeOf({ function: fn, request, secrets }: ContractCall, body: Uint8Array): Exchange {
  const { environment, defaults, left_out } = cgiVariables(request, body.length, secrets.environment);
  const files = secrets.files.map(({ name, value }): GateFile => ({
    place: "secrets",
    name,
    bytes: Buffer.from(value),
  }));
  return {
    body,
    body_file: false,
    streamed: true,
    extras: { environment, defaults, files },
    secrets: [...Object.values(secrets.environment), ...secrets.files.map(({ value }) => value)],
    judge: (exit, answer, facts) => {
      if (left_out.length > 0) facts.logs.note(`slipway: no room for the variables ${shortList(left_out)}\n`);
      return judgeOutput(fn, exit, answer, facts);
    },
  };
}

/** The most names in a note. */
const NAMED = 10;

function shortList(names: readonly string[]): string {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  return names.slice(0, NAMED).join(", ") + more;
}

/** Judges a function that has ended by the gate's report and what it has printed. */
export function judgeOutput(
  { content_type, output }: Pick<Function, "content_type" | "output">,
  exit: ExitFrame,
  { response }: Pick<AnswerFiles, "response">,
  facts: RunFacts,
): Outcome {
  // The function was killed for it, and a signal or a lack of memory that came of that says nothing.
  if (exit.responseState === "over_limit") {
    const message = `The function was ended, as it printed more than the limit of ${facts.response_limit} bytes: see its logs`;
    return failed(facts, "response_too_large", message, usageOf(exit));
  }
  const usage = usageOf(exit, response.length);
  if (ranOutOfMemory(exit)) return failed(facts, "out_of_memory", OUT_OF_MEMORY, usage);
  const success = hasSucceeded(exit);
  const message = endingOf(exit);
  if (!success && response.length === 0) {
    return failed(facts, "function_failed", `${message} and printed no response: see its logs`, usage);
  }
  const printed = output === "cgi" ? parseCgiOutput(response) : { ...PLAIN, body: response };
  if ("problem" in printed) {
    return failed(facts, "invalid_response", `${message}, and its output ${printed.problem}: see its logs`, usage);
  }
  for (const line of printed.dropped) facts.logs.note(`slipway: ${line}\n`);
  const status = success ? printed.status : FAILED_STATUS;
  const headers = withType(status, printed.headers, content_type ?? ANY_BYTES_TYPE);
  const answer = { wish: {}, response: { status, headers, body: printed.body }, ...usage };
  if (success) return finished(facts, { status: "succeeded", reason: null, message: null, ...answer });
  return finished(facts, { status: "failed", reason: "function_failed", message, ...answer });
}

const FAILED_STATUS = 500;
const PLAIN = { status: 200, headers: [], dropped: [] };

function withType(status: number, headers: readonly ResponseHeader[], type: string): FunctionResponse["headers"] {
  const has = WITHOUT_BODY.has(status) || headers.some(([name]) => name === "content-type");
  return has ? headers : [...headers, ["content-type", type]];
}
