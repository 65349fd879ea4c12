import type { Clock } from "../../clock.ts";
import type { Attempt } from "../../domain/calls/attempts.ts";
import { AppError } from "../../domain/errors.ts";
import type { Invocation, InvocationLogs } from "../../domain/calls/invocations.ts";
import { PLAIN_RESPONSE } from "../../domain/calls/response-meta.ts";
import type { History } from "../../store/history.ts";
import type { InvocationEvent, InvocationEvents } from "./events.ts";
import type { Answer, InvocationService } from "./invocations.ts";
import { readStoredResponse } from "./stored-messages.ts";

/** Seeing what becomes of an invocation: by waiting for its end, by its events, and by what is kept of it. */
export class ResultService {
  readonly #history: Pick<History, "attempts" | "attemptLogs" | "payload">;
  readonly #invocations: InvocationService;
  readonly #events: InvocationEvents;
  readonly #clock: Clock;

  constructor(options: {
    history: Pick<History, "attempts" | "attemptLogs" | "payload">;
    invocations: InvocationService;
    events: InvocationEvents;
    clock: Clock;
  }) {
    this.#history = options.history;
    this.#invocations = options.invocations;
    this.#events = options.events;
    this.#clock = options.clock;
  }

  /** The record when the invocation has ended, or after so many milliseconds, or when nobody waits any more. */
  async wait(id: string, ms: number, signal: AbortSignal): Promise<Invocation> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const unfollow = this.#events.follow(id, (event) => {
      if (event.type === "state" && hasEnded(event.invocation)) resolve();
    });
    const onAbort = () => resolve();
    const cancel = this.#clock.after(ms, resolve);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (!hasEnded(await this.#invocations.get(id)) && !signal.aborted) await promise;
      return await this.#invocations.get(id);
    } finally {
      unfollow();
      cancel();
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Tells `listener` how an invocation stands, and from then on everything that happens, until it has ended; then calls
   * `onEnd`. Of one that has ended it tells what was printed, too. Throws `not_found`.
   */
  async follow(id: string, listener: (event: InvocationEvent) => void, onEnd: () => void): Promise<() => void> {
    // Events come from now on; those that come before the record is read are told after it.
    const early: InvocationEvent[] = [];
    let tell = (event: InvocationEvent): void => void early.push(event);
    const unfollow = this.#events.follow(id, (event) => tell(event));
    try {
      const invocation = await this.#invocations.get(id);
      listener({ type: "state", invocation });
      if (hasEnded(invocation)) {
        unfollow();
        const { entries } = await this.#invocations.logs(id);
        if (entries.length > 0) listener({ type: "log", entries });
        onEnd();
        return () => undefined;
      }
      tell = (event) => {
        listener(event);
        if (event.type !== "state" || !hasEnded(event.invocation)) return;
        unfollow();
        onEnd();
      };
      for (const event of early) tell(event);
      return unfollow;
    } catch (error) {
      unfollow();
      throw error;
    }
  }

  /** The function's own answer. Throws `conflict` where there is none yet, `not_found` where it was not kept. */
  async result(id: string): Promise<Answer> {
    const invocation = await this.#invocations.get(id);
    if (!hasEnded(invocation)) {
      const message = `The invocation is ${invocation.status}: ask again when it has ended, or with GET /v1/invocations/${id}?wait=30s`;
      throw new AppError("conflict", message);
    }
    const payload = await this.#history.payload(id);
    if (payload === undefined) {
      const message = `The result of invocation "${id}" was not kept: set the function's "record_bodies" for synchronous ones`;
      throw new AppError("not_found", message);
    }
    if (payload.response === null) return { invocation, response: null, body_file: false, meta: null };
    const { meta, body_file } = readStoredResponse(payload.response_meta);
    return { invocation, response: payload.response, body_file, meta: meta ?? PLAIN_RESPONSE };
  }

  /** The attempts at an invocation, the first one first; none for a synchronous one. */
  async attempts(id: string): Promise<Attempt[]> {
    const { id: known } = await this.#invocations.get(id);
    return this.#history.attempts(known);
  }

  /** What the function printed in an attempt. Throws `not_found`. */
  async attemptLogs(id: string, attempt: number): Promise<InvocationLogs> {
    const record = (await this.attempts(id)).find((one) => one.attempt === attempt);
    if (record === undefined) {
      throw new AppError(
        "not_found",
        `Invocation "${id}" has no attempt ${attempt}: GET /v1/invocations/${id}/attempts lists them`,
      );
    }
    const entries = (await this.#history.attemptLogs(id, attempt)) ?? [];
    return { entries, dropped_bytes: record.log_dropped_bytes };
  }
}

function hasEnded({ finished_at, status }: Invocation): boolean {
  return finished_at !== null && status !== "queued" && status !== "running";
}
