import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { RequestMessage } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { type Retry, RETRY_DEFAULT } from "../../domain/functions/retry.ts";
import type { SecretValues } from "../../domain/secrets.ts";
import type { Metrics } from "../../metrics.ts";
import type { Runner } from "../../runner/runner.ts";
import type { Store } from "../../store/store.ts";
import type { AttemptResult, AttemptMaker, Task } from "./attempts.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { RouteService } from "../functions/routes.ts";
import { countRun } from "../calls/metrics.ts";
import { known, rounded } from "../calls/record.ts";
import { readStoredRequest, storedResponse } from "../calls/stored-messages.ts";

/** Makes attempts at asynchronous invocations, with the same pools and limits as calls that someone waits for. */
export class AttemptRunner implements AttemptMaker {
  readonly #store: Pick<Store, "functions" | "history" | "routes">;
  readonly #functions: FunctionService;
  readonly #routes: RouteService;
  readonly #runner: Runner;
  readonly #secretsFor: (fn: Function) => SecretValues;
  readonly #metrics: Metrics;
  /** Attempts that have no place among the running calls yet, of each function and in all: they will have one in a moment. */
  readonly #coming = new Map<string, number>();
  #comingInAll = 0;

  constructor(options: {
    store: Pick<Store, "functions" | "history" | "routes">;
    functions: FunctionService;
    routes: RouteService;
    runner: Runner;
    secretsFor: (fn: Function) => SecretValues;
    metrics: Metrics;
  }) {
    this.#store = options.store;
    this.#functions = options.functions;
    this.#routes = options.routes;
    this.#runner = options.runner;
    this.#secretsFor = options.secretsFor;
    this.#metrics = options.metrics;
  }

  get available(): boolean {
    return this.#runner.problem === undefined;
  }

  hasRoom(functionId: string): boolean {
    const fn = this.#store.functions.get(functionId);
    // What is left of a deleted function is not to wait for a place: it ends when it is tried.
    if (fn === undefined) return true;
    return this.#runner.hasRoomBehind(fn, { all: this.#comingInAll, own: this.#coming.get(functionId) ?? 0 });
  }

  retryOf({ function_id }: Invocation): Retry {
    return this.#store.functions.get(function_id)?.retry ?? RETRY_DEFAULT;
  }

  async run(task: Task): Promise<AttemptResult> {
    const arrived = this.#come(task.invocation.function_id);
    try {
      return await this.#run(task, arrived);
    } finally {
      arrived();
    }
  }

  async #run({ invocation, signal, onHandover, onLogs }: Task, arrived: () => void): Promise<AttemptResult> {
    const { id } = invocation;
    const payload = await this.#store.history.payload(id);
    if (payload === undefined) throw new AppError("internal", "The request of the invocation is not kept any more");
    const { message, body_file } = readStoredRequest(payload.request_meta);
    const fn = await this.#functions.withImage(this.#functionOf(invocation, message));
    let timings: Partial<Invocation> = { image_id: fn.image_id, version: fn.version };
    const run = await this.#runner.run({
      ...{ id, function: fn, body: payload.request, body_file, message, secrets: this.#secretsFor(fn), signal },
      ...{ onHandover, onLogs },
      onTiming: (timing) => {
        arrived();
        timings = { ...timings, ...rounded(timing) };
      },
    });
    // Not the first word: a function that ran past its deadline may still be on its way out.
    const outcome = await run.ended;
    const { status, ...fields } = known(outcome);
    countRun(this.#metrics, { ...invocation, ...timings, status }, fn);
    const hasEnded = outcome.exit_code !== null || outcome.signal !== null;
    return {
      finished: { status, fields: { ...timings, ...fields } },
      response: outcome.response,
      response_meta: outcome.response === null ? null : storedResponse(outcome),
      logs: outcome.logs,
      wish: outcome.wish,
      lost: outcome.reason === "engine_unavailable",
      gone: hasEnded ? Promise.resolve() : run.gone(),
    };
  }

  /** Counts an attempt until it has its place: many are begun in one go, before the first of them is let in. */
  #come(functionId: string): () => void {
    const change = (by: number) => {
      const own = (this.#coming.get(functionId) ?? 0) + by;
      if (own === 0) this.#coming.delete(functionId);
      else this.#coming.set(functionId, own);
      this.#comingInAll += by;
    };
    change(1);
    let arrived = false;
    return () => {
      if (!arrived) change(-1);
      arrived = true;
    };
  }

  /** The function as it is now, or in the version that the invocation's route says: the same one at each attempt. */
  #functionOf({ id, function_id, route_id }: Invocation, message: RequestMessage | null): Function {
    const route = route_id === null ? undefined : this.#store.routes.get(route_id);
    if (route?.function.id !== function_id) return this.#functions.get(function_id);
    return this.#routes.functionFor(route, { id, header: (name) => message?.headers[name.toLowerCase()] ?? null });
  }
}
