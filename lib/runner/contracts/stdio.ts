import type { GateFile } from "../gate-protocol/frames.ts";
import type { Exchange } from "../instance/active-call.ts";
import { bytesOf, type MessageBody } from "../../domain/calls/http-message.ts";
import { cgiVariables } from "./cgi-variables.ts";
import type { Contract, ContractCall } from "./contract.ts";
import { StdioOutput } from "./stdio-output.ts";

/**
 * The contract `stdio`: the function reads the request body from its standard input and the rest of the request from the
 * variables of CGI/1.1, prints its answer to its standard output, and exits. Its context is empty.
 */
export const STDIO: Contract = {
  exchange: (call) => {
    const { function: fn, request } = call;
    const { body, headers } = request;
    // A CGI program knows the end of its input by a variable.
    const mustCount = fn.output === "cgi" && headers["content-length"] === undefined;
    if (body instanceof Uint8Array || !mustCount) return exchangeOf(call, body);
    return bytesOf(body).then((bytes) => exchangeOf(call, bytes));
  },
};

function exchangeOf({ function: fn, request, secrets, collect = false }: ContractCall, body: MessageBody): Exchange {
  const { environment, defaults, left_out } = cgiVariables(request, lengthOf(body, request), secrets.environment);
  const files = secrets.files.map(({ name, value }): GateFile => ({
    place: "secrets",
    name,
    bytes: Buffer.from(value),
  }));
  // The answer to a HEAD has the length of the whole.
  const collected = collect || request.method === "HEAD";
  return {
    body,
    body_file: false,
    extras: { environment, defaults, files },
    secrets: [...Object.values(secrets.environment), ...secrets.files.map(({ value }) => value)],
    ...(fn.stream && !collected && { response_limit: Infinity }),
    readOutput: (facts, listener) => {
      if (left_out.length > 0) facts.logs.note(`slipway: no room for the variables ${shortList(left_out)}\n`);
      return new StdioOutput(fn, { collected, facts, listener });
    },
  };
}

/** Returns the length of a body; undefined if it is arriving, and its sender has not said. */
function lengthOf(body: MessageBody, { headers }: ContractCall["request"]): number | undefined {
  if (body instanceof Uint8Array) return body.length;
  const announced = headers["content-length"];
  return announced === undefined ? undefined : Number(announced);
}

/** The most names in a note. */
const NAMED = 10;

function shortList(names: readonly string[]): string {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  return names.slice(0, NAMED).join(", ") + more;
}
