import type { Clock } from "../../clock.ts";
import type { Attempt } from "../../domain/calls/attempts.ts";
import { deadline, onAbort } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import type { Invocation, InvocationLogs } from "../../domain/calls/invocations.ts";
import type { Store } from "../../store/sqlite/store.ts";
import type { InvocationEvent, InvocationEvents } from "./events.ts";
import type { Answer, InvocationService } from "./invocations.ts";
import { readStoredResponse } from "./stored-messages.ts";

interface ResultServiceDeps {
  readonly store: Pick<Store, "attempts" | "payloads">;
  readonly invocations: InvocationService;
  readonly events: InvocationEvents;
  readonly clock: Clock;
}

/** Waits for the end of an invocation, follows its events, and reads what is kept of it. */
export class ResultService {
  readonly #deps: ResultServiceDeps;

  constructor(deps: ResultServiceDeps) {
    this.#deps = deps;
  }

  /** Returns the record when the invocation has ended, after so many milliseconds, or when nobody waits any longer. */
  async wait(id: string, ms: number, signal: AbortSignal): Promise<Invocation> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const unfollow = this.#deps.events.follow(id, (event) => {
      if (event.type === "state" && hasEnded(event.invocation)) resolve();
    });
    using limit = deadline(this.#deps.clock, ms, signal);
    onAbort(limit.signal, resolve);
    try {
      if (!hasEnded(this.#deps.invocations.get(id))) await promise;
      return this.#deps.invocations.get(id);
    } finally {
      unfollow();
    }
  }

  /**
   * Calls `listener` with the state of an invocation and then with all that happens until it ends; then calls `onEnd`. If it
   * has ended already, `listener` gets its output, too. Throws `not_found`.
   */
  follow(id: string, listener: (event: InvocationEvent) => void, onEnd: () => void): () => void {
    const invocation = this.#deps.invocations.get(id);
    listener({ type: "state", invocation });
    if (hasEnded(invocation)) {
      const { entries } = this.#deps.invocations.logs(id);
      if (entries.length > 0) listener({ type: "log", entries });
      onEnd();
      return () => undefined;
    }
    const unfollow = this.#deps.events.follow(id, (event) => {
      listener(event);
      if (event.type !== "state" || !hasEnded(event.invocation)) return;
      unfollow();
      onEnd();
    });
    return unfollow;
  }

  /** Returns the function's own answer. Throws `conflict` if there is none yet, `not_found` if it was not kept. */
  result(id: string): Answer {
    const invocation = this.#deps.invocations.get(id);
    if (!hasEnded(invocation)) {
      const message = `The invocation is ${invocation.status}: ask again when it has ended, or with GET /v1/invocations/${id}?wait=30s`;
      throw new AppError("conflict", message);
    }
    const payload = this.#deps.store.payloads.get(id);
    if (payload === undefined) {
      const message = `The result of invocation "${id}" was not kept: set the function's "record_bodies" for synchronous ones`;
      throw new AppError("not_found", message);
    }
    const { response: body, response_meta } = payload;
    if (body === null) return { invocation, response: null };
    const head = readStoredResponse(response_meta, invocation.status === "succeeded");
    return { invocation, response: { ...head, body } };
  }

  /** Lists the attempts at an invocation, the first one first; none for a synchronous one. */
  attempts(id: string): Attempt[] {
    return this.#deps.store.attempts.list(this.#deps.invocations.get(id).id);
  }

  /** Returns the function's output in an attempt. Throws `not_found`. */
  attemptLogs(id: string, attempt: number): InvocationLogs {
    const record = this.#deps.store.attempts.get(this.#deps.invocations.get(id).id, attempt);
    if (record === undefined) {
      throw new AppError(
        "not_found",
        `Invocation "${id}" has no attempt ${attempt}: GET /v1/invocations/${id}/attempts lists them`,
      );
    }
    return { entries: this.#deps.store.attempts.logs(id, attempt) ?? [], dropped_bytes: record.log_dropped_bytes };
  }
}

function hasEnded({ finished_at, status }: Invocation): boolean {
  return finished_at !== null && status !== "queued" && status !== "running";
}
