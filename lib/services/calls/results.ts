import type { Clock } from "../../clock.ts";
import type { Attempt } from "../../domain/calls/attempts.ts";
import { deadline, onAbort } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import type { Invocation, InvocationLogs, LogEntry, ShownInvocation } from "../../domain/calls/invocations.ts";
import { type KeptRequest, shownRequest } from "../../domain/calls/views/kept-requests.ts";
import type { History } from "../../store/history.ts";
import type { FunctionOutput } from "../../domain/calls/views/function-logs.ts";
import type { InvocationEvent, InvocationEvents } from "./events.ts";
import { FunctionOutputPieces } from "./function-output.ts";
import type { Answer } from "./call.ts";
import type { InvocationService } from "./invocations.ts";
import { readStoredRequest, readStoredResponse } from "./stored-messages.ts";

/** The calls of a function whose output a new follower gets first: the latest. */
const PAST_CALLS = 10;

interface ResultServiceDeps {
  readonly history: Pick<History, "attempts" | "attemptLogs" | "payload" | "writtenElsewhere">;
  readonly invocations: InvocationService;
  readonly events: InvocationEvents;
  readonly clock: Clock;
  /** The id of this server; undefined if it has the database for itself. */
  readonly server_id: string | undefined;
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
      if (!hasEnded(await this.#deps.invocations.get(id))) await promise;
      return await this.#deps.invocations.get(id);
    } finally {
      unfollow();
    }
  }

  /** Returns a record with the server that wrote it last, if several share the database. */
  async withServer(record: Invocation): Promise<ShownInvocation> {
    const { history, server_id } = this.#deps;
    if (server_id === undefined) return record;
    const [elsewhere] = await history.writtenElsewhere([record.id]);
    return { ...record, server_id: elsewhere?.holder ?? server_id };
  }

  /**
   * Calls `listener` with the state of an invocation, with what it has printed so far, and then with all that happens until
   * it ends; then calls `onEnd`. Throws `not_found`.
   */
  async follow(id: string, listener: (event: InvocationEvent) => void, onEnd: () => void): Promise<() => void> {
    const { events, invocations } = this.#deps;
    // Events come from now on; those that come before the record is read follow it.
    const early: InvocationEvent[] = [];
    let tell = (event: InvocationEvent): void => void early.push(event);
    const printed = events.output(id);
    const unfollow = events.follow(id, (event) => tell(event));
    try {
      const invocation = await invocations.get(id);
      const isOver = hasEnded(invocation);
      const past = invocation.status === "running" ? (printed ?? []) : (await invocations.logs(id)).entries;
      listener({ type: "state", invocation });
      if (past.length > 0) listener({ type: "log", entries: past });
      if (isOver) {
        unfollow();
        onEnd();
        return () => undefined;
      }
      const follower = new Follower(
        { listener, onEnd, unfollow, logs: (one) => invocations.logs(one) },
        invocation,
        past,
      );
      tell = (event) => follower.take(event);
      for (const event of early) tell(event);
      return () => follower.stop();
    } catch (error) {
      unfollow();
      throw error;
    }
  }

  /**
   * Calls `listener` with what the latest calls of a function have printed, and then with what all of its calls print and how they
   * end, in pieces. Of many calls at once some are left out.
   */
  async followFunction(functionId: string, listener: (output: FunctionOutput) => void): Promise<() => void> {
    const { events, invocations, clock } = this.#deps;
    const pieces = new FunctionOutputPieces(clock, listener);
    const early: [id: string, event: InvocationEvent][] = [];
    let tell = (id: string, event: InvocationEvent): void => void early.push([id, event]);
    const printed = events.outputsOf(functionId);
    const unfollow = events.followFunction(functionId, (id, event) => tell(id, event));
    try {
      const { invocations: latest } = await invocations.list({ function_id: functionId, limit: PAST_CALLS });
      for (const invocation of latest.toReversed()) {
        const { id } = invocation;
        // News of it since then comes after this.
        if (!hasEnded(invocation) || printed.has(id) || early.some(([other]) => other === id)) continue;
        pieces.takeEntries(id, (await invocations.logs(id)).entries);
        pieces.takeEnd(invocation);
      }
    } catch (error) {
      unfollow();
      pieces[Symbol.dispose]();
      throw error;
    }
    for (const [id, entries] of printed) pieces.takeEntries(id, entries);
    tell = (id, event) => pieces.take(id, event);
    for (const [id, event] of early) tell(id, event);
    pieces.flush();
    return () => {
      unfollow();
      pieces[Symbol.dispose]();
    };
  }

  /** Returns the function's own answer. Throws `conflict` if there is none yet, `not_found` if it was not kept. */
  async result(id: string): Promise<Answer> {
    const invocation = await this.#deps.invocations.get(id);
    if (!hasEnded(invocation)) {
      const message = `The invocation is ${invocation.status}: ask again when it has ended, or with GET /v1/invocations/${id}?wait=30s`;
      throw new AppError("conflict", message);
    }
    const payload = await this.#deps.history.payload(id);
    if (payload === undefined) {
      const message = `The result of invocation "${id}" was not kept: set the function's "record_bodies" for synchronous ones`;
      throw new AppError("not_found", message);
    }
    const { response: body, response_meta } = payload;
    if (body === null) return { invocation, response: null };
    const head = readStoredResponse(response_meta, { succeeded: invocation.status === "succeeded" });
    return { invocation, response: { ...head, body } };
  }

  /** Returns the request of an invocation. Throws `not_found` if it was not kept. */
  async request(id: string): Promise<KeptRequest> {
    const { mode } = await this.#deps.invocations.get(id);
    const payload = await this.#deps.history.payload(id);
    if (payload === undefined) {
      const why =
        mode === "sync"
          ? 'it was synchronous: set the function\'s "record_bodies" to keep requests from now on'
          : "it had to make room for newer ones (QUEUE_BYTES)";
      throw new AppError("not_found", `The request of invocation "${id}" was not kept: ${why}`);
    }
    return shownRequest(readStoredRequest(payload.request_meta, payload.request));
  }

  /** Lists the attempts at an invocation, the first one first; none for a synchronous one. */
  async attempts(id: string): Promise<Attempt[]> {
    const { id: known } = await this.#deps.invocations.get(id);
    return this.#deps.history.attempts(known);
  }

  /** Returns the function's output in an attempt. Throws `not_found`. */
  async attemptLogs(id: string, attempt: number): Promise<InvocationLogs> {
    const record = (await this.attempts(id)).find((one) => one.attempt === attempt);
    if (record === undefined) {
      throw new AppError(
        "not_found",
        `Invocation "${id}" has no attempt ${attempt}: GET /v1/invocations/${id}/attempts lists them`,
      );
    }
    const entries = (await this.#deps.history.attemptLogs(id, attempt)) ?? [];
    return { entries, dropped_bytes: record.log_dropped_bytes };
  }
}

interface FollowerDeps {
  readonly listener: (event: InvocationEvent) => void;
  readonly onEnd: () => void;
  readonly unfollow: () => void;
  /** Returns what the latest attempt at an invocation has printed. */
  readonly logs: (id: string) => Promise<InvocationLogs>;
}

/**
 * Passes the events of an invocation to one listener until its end. If another server runs it, its states may come more than
 * once, and what of its output has not come by the end of an attempt is read then.
 */
class Follower {
  readonly #deps: FollowerDeps;
  /** The state that was passed last. */
  #last: Invocation;
  /** Characters of the output of the latest attempt that were passed. */
  #passed = { stdout: 0, stderr: 0 };
  /** Settles when the output of an attempt has been read; undefined if nothing is being read. */
  #reading: Promise<void> | undefined;
  #isStopped = false;

  constructor(deps: FollowerDeps, first: Invocation, past: readonly LogEntry[]) {
    this.#deps = deps;
    this.#last = first;
    this.#count(past);
  }

  stop(): void {
    this.#isStopped = true;
    this.#deps.unfollow();
  }

  take(event: InvocationEvent): void {
    if (this.#reading === undefined) this.#pass(event);
    else this.#reading = this.#reading.then(() => this.#pass(event));
  }

  #pass(event: InvocationEvent): void {
    if (this.#isStopped) return;
    if (event.type === "log") {
      this.#count(event.entries);
      this.#deps.listener(event);
      return;
    }
    const { invocation, elsewhere = false } = event;
    if (elsewhere && (invocation.attempts < this.#last.attempts || isSame(invocation, this.#last))) return;
    if (invocation.attempts !== this.#last.attempts) this.#passed = { stdout: 0, stderr: 0 };
    this.#last = invocation;
    if (!elsewhere || invocation.status === "running") return this.#passState(event, invocation);
    const reading = this.#passRest(invocation.id).then(() => this.#passState(event, invocation));
    this.#reading = reading;
    void reading.finally(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
  }

  #passState(event: InvocationEvent, invocation: Invocation): void {
    if (this.#isStopped) return;
    this.#deps.listener(event);
    if (!hasEnded(invocation)) return;
    this.stop();
    this.#deps.onEnd();
  }

  /** Passes what the latest attempt has printed besides what was passed. Never rejects: the record has it all. */
  async #passRest(id: string): Promise<void> {
    const { entries } = await this.#deps.logs(id).catch(() => ({ entries: [] }));
    const rest = entries.flatMap((entry) => {
      const known = Math.min(entry.text.length, this.#passed[entry.stream]);
      this.#passed[entry.stream] -= known;
      return known === entry.text.length && known > 0 ? [] : [{ ...entry, text: entry.text.slice(known) }];
    });
    if (rest.length > 0 && !this.#isStopped) this.#deps.listener({ type: "log", entries: rest });
  }

  #count(entries: readonly LogEntry[]): void {
    for (const { stream, text } of entries) this.#passed[stream] += text.length;
  }
}

function isSame(one: Invocation, other: Invocation): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function hasEnded({ finished_at, status }: Invocation): boolean {
  return finished_at !== null && status !== "queued" && status !== "running";
}
