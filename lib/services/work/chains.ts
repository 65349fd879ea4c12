import type { Clock } from "../../clock.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { CHAIN_DEPTH } from "../../domain/limits.ts";
import type { Logger } from "../../log.ts";
import type { FunctionStore } from "../../store/sqlite/tables/functions.ts";
import type { AttemptResult } from "./attempts.ts";
import type { Queue, Submission } from "./queue.ts";
import { requestAfter } from "../calls/stored-messages.ts";

/** The result of an invocation as the request of the next one: what a function's `on_success` and `on_failure` stand for. */
export class ChainService {
  readonly #functions: Pick<FunctionStore, "get">;
  readonly #queue: Pick<Queue, "enqueue" | "announce">;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(options: {
    functions: Pick<FunctionStore, "get">;
    queue: Pick<Queue, "enqueue" | "announce">;
    clock: Clock;
    log: Logger;
  }) {
    this.#functions = options.functions;
    this.#queue = options.queue;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /**
   * Part of the transaction that ends an invocation: queues the one that follows, by the settings that its function has
   * at this moment. What it returns is for after the commit.
   */
  consequence(invocation: Invocation, result: AttemptResult | undefined): (() => void) | undefined {
    const follower = this.#followerOf(invocation);
    if (follower === undefined) return undefined;
    const { id: parent_id, chain_depth } = invocation;
    if (chain_depth >= CHAIN_DEPTH) {
      // The settings have no such chain, but may have been changed on the way.
      this.#log.warn("a chain is too long, and ends here", { request_id: parent_id, function_id: follower.id });
      return undefined;
    }
    const { invocation: next } = this.#queue.enqueue({
      id: this.#clock.uuid(),
      target: { function: follower, route_id: null },
      ...requestOf(invocation, result),
      origin: { parent_id, chain_depth: chain_depth + 1 },
    });
    return () => this.#queue.announce(next);
  }

  #followerOf({ status, function_id }: Invocation): Function | undefined {
    const fn = this.#functions.get(function_id);
    const id = status === "succeeded" ? fn?.on_success : status === "dead" ? fn?.on_failure : null;
    return typeof id === "string" ? this.#functions.get(id) : undefined;
  }
}

/** What the next function is asked: the response of the one before, or why there is none. */
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
