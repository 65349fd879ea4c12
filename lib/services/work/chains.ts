import type { Clock } from "../../clock.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { CHAIN_DEPTH } from "../../domain/limits.ts";
import type { Logger } from "../../log.ts";
import type { FunctionStore } from "../../store/configuration.ts";
import type { NewInvocation } from "../../store/ledger.ts";
import { requestAfter } from "../calls/stored-messages.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { AttemptResult } from "./attempts.ts";
import { newInvocation, type Submission } from "./submissions.ts";

/** Turns the result of an invocation into the request of the next one, as a function's `on_success` and `on_failure` say. */
export class ChainService {
  readonly #deps: ChainDeps;

  constructor(deps: ChainDeps) {
    this.#deps = deps;
  }

  /** Returns the invocations that follow when one ends, by the current settings of its function: one, or none. */
  following(invocation: Invocation, result: AttemptResult | undefined): NewInvocation[] {
    const { clock, log, tracing } = this.#deps;
    const follower = this.#followerOf(invocation);
    if (follower === undefined) return [];
    const { id: parent_id, chain_depth } = invocation;
    if (chain_depth >= CHAIN_DEPTH) {
      // The settings have no such chain, but may have been changed on the way.
      log.warn("a chain is too long, and ends here", { request_id: parent_id, function_id: follower.id });
      return [];
    }
    const submission: Submission = {
      id: clock.invocationId(),
      target: { function: follower, route_id: null, key_id: null },
      ...requestOf(invocation, result),
      origin: { parent_id, chain_depth: chain_depth + 1, ...tracing.following(invocation) },
    };
    return [newInvocation(submission, clock.now())];
  }

  #followerOf({ status, function_id }: Invocation): Function | undefined {
    const { functions } = this.#deps;
    const fn = functions.get(function_id);
    const id = status === "succeeded" ? fn?.on_success : status === "dead" ? fn?.on_failure : null;
    return typeof id === "string" ? functions.get(id) : undefined;
  }
}

interface ChainDeps {
  readonly functions: Pick<FunctionStore, "get">;
  readonly tracing: Pick<Tracing, "following">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Returns the request of the next function: the response of the one before, or the reason why there is none. */
function requestOf(
  { id, function_id, reason, message }: Invocation,
  result: AttemptResult | undefined,
): Pick<Submission, "body" | "request_meta"> {
  const response = result?.response ?? null;
  if (response === null) {
    const why = { invocation_id: id, function_id, reason, message };
    return { body: Buffer.from(JSON.stringify(why)), request_meta: null };
  }
  return { body: response, request_meta: requestAfter(result?.response_meta ?? null) };
}
