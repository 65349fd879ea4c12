import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { REPLAYS } from "../../domain/limits.ts";
import type { Store } from "../../store/sqlite/store.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { InvocationService } from "../calls/invocations.ts";
import type { Queue, Submission } from "./queue.ts";

/** Which invocations to replay. */
export interface ReplayQuery {
  readonly function_id?: string;
  readonly limit?: number;
}

/** What was done of a bulk replay. */
export interface Replayed {
  readonly invocations: Invocation[];
  /** Dead ones that are left and could be replayed: more than the limit. */
  readonly left: number;
}

/** Running invocations again, as new ones with the request that was kept. */
export class ReplayService {
  readonly #store: Pick<Store, "functions" | "payloads" | "invocations" | "work">;
  readonly #invocations: InvocationService;
  readonly #functions: FunctionService;
  readonly #queue: Queue;
  readonly #clock: Clock;

  constructor(options: {
    store: Pick<Store, "functions" | "payloads" | "invocations" | "work">;
    invocations: InvocationService;
    functions: FunctionService;
    queue: Queue;
    clock: Clock;
  }) {
    this.#store = options.store;
    this.#invocations = options.invocations;
    this.#functions = options.functions;
    this.#queue = options.queue;
    this.#clock = options.clock;
  }

  /** Queues the request of an invocation again. Throws `not_found` where it, or its function, is no more. */
  async replay(id: string): Promise<Invocation> {
    const original = this.#invocations.get(id);
    const submission = this.#submission(original, this.#functions.get(original.function_id));
    if (submission === undefined) {
      const message = `The request of invocation "${id}" was not kept: set the function's "record_bodies" for synchronous ones`;
      throw new AppError("not_found", message);
    }
    return (await this.#queue.submit(submission)).invocation;
  }

  /** Queues dead invocations again, the newest first, each once: one that was replayed already is left out. */
  async replayDead({ function_id, limit = REPLAYS.default }: ReplayQuery): Promise<Replayed> {
    const id = function_id === undefined ? undefined : this.#functions.get(function_id).id;
    const invocations = await this.#store.work.durably(() => {
      const dead = this.#store.invocations.deadNotReplayed(id ?? null, limit);
      return dead.flatMap((original) => {
        const fn = this.#store.functions.get(original.function_id);
        const submission = fn && this.#submission(original, fn);
        return submission === undefined ? [] : [this.#queue.enqueue(submission).invocation];
      });
    });
    for (const invocation of invocations) this.#queue.announce(invocation);
    return { invocations, left: this.#store.invocations.countDeadNotReplayed(id ?? null) };
  }

  #submission(original: Invocation, fn: Function): Submission | undefined {
    const payload = this.#store.payloads.get(original.id);
    if (payload === undefined) return undefined;
    return {
      id: this.#clock.uuid(),
      target: { function: fn, route_id: original.route_id },
      body: payload.request,
      request_meta: payload.request_meta,
      priority: original.priority,
      origin: { replay_of: original.id, callback_url: original.callback_url },
    };
  }
}
