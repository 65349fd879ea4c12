import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { AppError } from "../../domain/errors.ts";
import { type Caller, isAdministrator } from "../../domain/keys.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { REPLAYS } from "../../domain/limits.ts";
import type { NewInvocation } from "../../store/ledger.ts";
import type { Store } from "../../store/store.ts";
import type { InvocationService } from "../calls/invocations.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { Queue } from "./queue.ts";
import { newQueuedRecord } from "./submissions.ts";
import type { Worker } from "./worker.ts";

/** The invocations to replay. */
export interface ReplayQuery {
  readonly function_id?: string;
  readonly limit?: number;
}

/** The caller that replays belong to. */
type Replayer = Pick<Caller, "key_id" | "scopes">;

/** The result of a bulk replay. */
export interface Replayed {
  readonly invocations: Invocation[];
  /** Dead ones that are left and could be replayed: more than the limit. */
  readonly left: number;
}

interface ReplayDeps {
  readonly store: Pick<Store, "functions" | "history" | "ledger">;
  readonly invocations: InvocationService;
  readonly functions: FunctionService;
  readonly queue: Queue;
  readonly worker: Pick<Worker, "queued">;
  readonly tracing: Pick<Tracing, "begin">;
  readonly clock: Clock;
}

/** Runs invocations again, as new ones with the request that was kept. */
export class ReplayService {
  readonly #deps: ReplayDeps;

  constructor(deps: ReplayDeps) {
    this.#deps = deps;
  }

  /** Queues an invocation's request again. Throws `not_found` if the invocation, request or function is gone. */
  async replay(id: string, by: Replayer): Promise<Invocation> {
    const { store, invocations, functions, queue } = this.#deps;
    const original = await invocations.get(id);
    const fn = functions.get(original.function_id);
    const payload = await store.history.payload(original.id);
    if (payload === undefined) {
      const message = `The request of invocation "${id}" was not kept: set the function's "record_bodies" for synchronous ones`;
      throw new AppError("not_found", message);
    }
    const { request: body, request_meta } = payload;
    return (await queue.submit({ ...this.#optionsOf(original, fn, by), body, request_meta })).invocation;
  }

  /**
   * Queues dead invocations again, the newest first, each once: those that were replayed already are left out, and, unless
   * an administrator asks, those that others made.
   */
  async replayDead({ function_id, limit = REPLAYS.default }: ReplayQuery, by: Replayer): Promise<Replayed> {
    const { store, functions, worker, clock } = this.#deps;
    const filter = {
      function_id: function_id === undefined ? null : functions.get(function_id).id,
      key_id: isAdministrator(by) ? null : by.key_id,
    };
    const dead = await store.history.deadNotReplayed(filter, limit);
    const replays = dead.flatMap((original): NewInvocation[] => {
      const fn = store.functions.get(original.function_id);
      if (fn === undefined) return [];
      const { request_bytes } = original;
      const invocation = newQueuedRecord({ ...this.#optionsOf(original, fn, by), request_bytes }, clock.now());
      return [{ invocation, request: { copy_of: original.id } }];
    });
    const invocations = await store.ledger.replayMany(replays);
    for (const invocation of invocations) worker.queued(invocation);
    return { invocations, left: await store.history.countDeadNotReplayed(filter) };
  }

  #optionsOf(original: Invocation, fn: Function, { key_id }: Replayer) {
    const { clock, tracing } = this.#deps;
    const id = clock.invocationId();
    return {
      id,
      target: { function: fn, route_id: original.route_id, key_id },
      priority: original.priority,
      origin: { replay_of: original.id, callback_url: original.callback_url, ...tracing.begin(id, {}) },
    };
  }
}
