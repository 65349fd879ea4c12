import { AppError } from "../../domain/errors.ts";
import { isBooted } from "../../domain/functions/contract.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { bytesOf, type FunctionRequest } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { type Retry, RETRY_DEFAULT } from "../../domain/functions/retry.ts";
import type { SecretValues } from "../../domain/secrets.ts";
import type { Metrics } from "../../metrics.ts";
import type { Runner } from "../../runner/runner.ts";
import type { History } from "../../store/history.ts";
import type { Store } from "../../store/store.ts";
import type { AttemptResult, AttemptMaker, Task } from "./attempts.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { RouteService } from "../functions/routes.ts";
import { known, rounded, countRun, verdictOf } from "../calls/record.ts";
import { lambdaFailure } from "../calls/lambda-failure.ts";
import { readStoredRequest, storedResponse } from "../calls/stored-messages.ts";
import type { Tracing } from "../tracing/tracing.ts";
import { wholeOutcome } from "../calls/whole-outcome.ts";

/** The memory for bodies, which requests of attempts share with those of callers who wait. */
export interface AttemptMemory {
  readonly isFull: boolean;
  /** Counts a body; the returned function ends that. */
  hold(bytes: number): () => void;
}

interface AttemptRunnerDeps {
  readonly store: Pick<Store, "functions" | "routes"> & { readonly history: Pick<History, "payload"> };
  readonly functions: Pick<FunctionService, "get" | "withImage">;
  readonly routes: Pick<RouteService, "functionFor">;
  readonly runner: Pick<Runner, "run" | "problem" | "roomBehind" | "reserve">;
  readonly secretsFor: (fn: Function) => SecretValues;
  readonly metrics: Metrics;
  readonly tracing: Pick<Tracing, "handedOver">;
  readonly memory: AttemptMemory;
  /** The most bytes of an answer. */
  readonly response_bytes: number;
}

/** Makes attempts at asynchronous invocations, with the same pools and limits as synchronous calls. */
export class AttemptRunner implements AttemptMaker {
  readonly #deps: AttemptRunnerDeps;
  /** Attempts that have no place among the running calls yet but will soon, of each function and in all. */
  readonly #coming = new Map<string, number>();
  #comingInAll = 0;
  #underWay = 0;

  constructor(deps: AttemptRunnerDeps) {
    this.#deps = deps;
  }

  get available(): boolean {
    return this.#deps.runner.problem === undefined;
  }

  room(functionId: string): number {
    const fn = this.#deps.store.functions.get(functionId);
    // Work of a deleted function need not wait for a place: it ends when it is tried.
    if (fn === undefined) return Infinity;
    // One goes on whatever callers send, so the memory may have one more body than it should.
    const most = this.#deps.memory.isFull ? 1 - this.#underWay : Infinity;
    const coming = { all: this.#comingInAll, own: this.#coming.get(functionId) ?? 0 };
    return Math.max(0, Math.min(most, this.#deps.runner.roomBehind(fn, coming)));
  }

  /** Reserves at most so many places of those that servers share; undefined if the function needs none. */
  async reserve(functionId: string, most: number): Promise<(() => void)[] | undefined> {
    const fn = this.#deps.store.functions.get(functionId);
    return fn && this.#deps.runner.reserve(fn, most);
  }

  retryOf({ function_id }: Invocation): Retry {
    return this.#deps.store.functions.get(function_id)?.retry ?? RETRY_DEFAULT;
  }

  async run(task: Task): Promise<AttemptResult> {
    const arrived = this.#come(task.invocation.function_id);
    const release = this.#deps.memory.hold(task.invocation.request_bytes);
    this.#underWay += 1;
    try {
      return await this.#run(task, arrived);
    } finally {
      this.#underWay -= 1;
      release();
      arrived();
    }
  }

  async #run(
    { invocation, attempt, signal, onHandover, onLogs, shared_place }: Task,
    arrived: () => void,
  ): Promise<AttemptResult> {
    const { id } = invocation;
    const payload = await this.#deps.store.history.payload(id);
    if (payload === undefined) throw new AppError("internal", "The request of the invocation is not kept any more");
    const request = readStoredRequest(payload.request_meta, payload.request);
    const fn = await this.#deps.functions.withImage(this.#functionOf(invocation, request));
    let timings: Partial<Invocation> = {
      image_id: fn.image_id,
      version: fn.version,
      contract: fn.contract,
      ...NOT_STREAMED,
    };
    const abort = new AbortController();
    const run = await this.#deps.runner.run({
      id,
      function: fn,
      request: this.#deps.tracing.handedOver(request, invocation, attempt),
      secrets: this.#deps.secretsFor(fn),
      collect: true,
      shared_place,
      signal: isBooted(fn.contract) ? AbortSignal.any([signal, abort.signal]) : signal,
      onHandover,
      onLogs,
      onTiming: (timing) => {
        arrived();
        timings = { ...timings, ...rounded(timing) };
      },
    });
    const { response: own } = await wholeOutcome(run, this.#deps.response_bytes, (error) => abort.abort(error));
    // Not the first outcome: a function that ran past its deadline may still be ending.
    const outcome = await run.ended;
    const { status, ...fields } = { ...known(outcome), ...verdictOf(outcome, abort.signal) };
    const response = own ?? lambdaFailure({ ...invocation, status, ...fields }, fn, { request });
    const hasEnded = outcome.exit_code !== null || outcome.signal !== null;
    return {
      finished: { status, fields: { ...timings, ...fields } },
      response: response && (await bytesOf(response.body)),
      response_meta: response && storedResponse(response),
      logs: outcome.logs,
      wish: outcome.wish,
      lost: outcome.reason === "engine_unavailable",
      gone: hasEnded ? Promise.resolve() : run.gone(),
      count: () => countRun(this.#deps.metrics, { ...invocation, ...timings, ...fields, status }, fn),
    };
  }

  /** Counts an attempt until it has its place: many are begun at once, before the first one gets a place. */
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

  /** Returns the current function, or the version that the invocation's route names: the same one at each attempt. */
  #functionOf({ id, function_id, route_id }: Invocation, { headers }: FunctionRequest): Function {
    const route = route_id === null ? undefined : this.#deps.store.routes.get(route_id);
    if (route?.function.id !== function_id) return this.#deps.functions.get(function_id);
    return this.#deps.routes.functionFor(route, { id, header: (name) => headers[name.toLowerCase()] ?? null });
  }
}

/** Those of an earlier attempt do not stay. */
const NOT_STREAMED = { boot_ms: null, first_byte_ms: null } as const;
