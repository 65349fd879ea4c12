import type { Clock } from "../clock.ts";
import type { Attempt } from "../domain/attempts.ts";
import { AppError, messageOf } from "../domain/errors.ts";
import type { Invocation, LogEntry } from "../domain/invocations.ts";
import { LOST_ATTEMPTS } from "../domain/limits.ts";
import { judgeRetry, type Retry, type RetryWish } from "../domain/retry.ts";
import { timestamp } from "../domain/types.ts";
import { nextState, type WorkEvent } from "../domain/work.ts";
import type { Logger } from "../log.ts";
import type { Store } from "../store/store.ts";
import type { Work } from "../store/work.ts";
import { beganAttempt, endedAttempt, type Finished } from "./attempt-record.ts";
import type { InvocationEvents } from "./invocation-events.ts";
import { Turns } from "./turns.ts";

/** How long a lease lasts from its last renewal, and how often all are renewed, in milliseconds. */
const LEASE_MS = 30_000;
const RENEW_MS = 10_000;
/** How often the worker looks for what it was not told of, in milliseconds: an engine that is back, what has become due. */
const TICK_MS = 1_000;
/** Before an attempt that found no place is made again, in milliseconds. */
const NO_PLACE_MS = 1_000;
/** Attempts that are begun in one go, in some 2 ms; then everyone else has a turn. */
const CLAIMS = 20;

/** An attempt as it is handed to who can make it. */
export interface Task {
  readonly invocation: Invocation;
  readonly attempt: number;
  /** Aborts when the invocation is cancelled or the server stops. */
  readonly signal: AbortSignal;
  /** Told until when the function may run, in milliseconds from now, once it may. */
  readonly onHandover: (forMs: number) => void;
  readonly onLogs: (entries: readonly LogEntry[]) => void;
}

/** What became of an attempt. */
export interface AttemptResult {
  readonly finished: Finished;
  readonly response: Uint8Array | null;
  /** JSON; null where the function wrote none. */
  readonly response_meta: string | null;
  readonly logs: readonly LogEntry[];
  readonly wish: RetryWish;
  /** Whether the function may run on, its engine being away. */
  readonly lost: boolean;
  /** Settles when its container is known to be gone. */
  readonly gone: Promise<void>;
}

/** Who makes attempts. */
export interface Attempts {
  /** Whether a function of this id could be given a place now, with room left for those who wait for an answer. */
  hasRoom(functionId: string): boolean;
  /** Whether there is an engine to make them with. */
  readonly available: boolean;
  /** Makes one. Throws where the function was not handed the request. */
  run(task: Task): Promise<AttemptResult>;
  /** How what fails is tried again. */
  retryOf(invocation: Invocation): Retry;
}

/** What an end brings about: it is part of the transaction that says so. */
export type Consequences = (invocation: Invocation, result: AttemptResult | undefined) => void;

/** An attempt that is being made. */
interface Running {
  readonly work: Work;
  readonly invocation: Invocation;
  readonly attempt: Attempt;
  readonly abort: AbortController;
  cancelled: boolean;
}

/**
 * Does what is queued. It takes work with a lease (work.ts has the states), has the attempt made, and writes its end in
 * one transaction with everything that follows from it: a result is never without its callback, nor the other way round.
 *
 * What a server that died had leased is *lost*: it is free again when all containers of that server are known to be gone
 * (`swept`), or when its lease ends, which is after the deadline that its gate enforces. So an invocation never runs
 * beside itself, whatever died.
 */
export class Worker implements AsyncDisposable {
  readonly #store: Pick<Store, "work" | "invocations" | "attempts" | "payloads">;
  readonly #attempts: Attempts;
  readonly #events: InvocationEvents;
  readonly #consequences: Consequences;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #turns = new Turns();
  readonly #running = new Map<string, Running>();
  readonly #ends = new Set<Promise<void>>();
  #stopped = true;
  #pumping = false;
  #renewedAt = -Infinity;
  #cancelTick: () => void = () => undefined;

  constructor(options: {
    store: Pick<Store, "work" | "invocations" | "attempts" | "payloads">;
    attempts: Attempts;
    events: InvocationEvents;
    consequences: Consequences;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#attempts = options.attempts;
    this.#events = options.events;
    this.#consequences = options.consequences;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** How many attempts are being made. */
  get running(): number {
    return this.#running.size;
  }

  /** Takes over what an earlier server left, and begins to work. */
  start(): void {
    this.#stopped = false;
    this.#loseLeases();
    for (const { function_id, priority } of this.#store.work.ready()) this.#turns.add(function_id, priority);
    this.#tick();
  }

  /** There is something new to do. */
  submitted({ function_id, priority, state }: Pick<Work, "function_id" | "priority" | "state">): void {
    if (state === "ready") this.#turns.add(function_id, priority);
    this.wake();
  }

  /** Looks for something to do, once everyone else had their turn. */
  wake(): void {
    if (this.#pumping || this.#stopped) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      if (this.#stopped) return;
      this.#claimSome();
    });
  }

  /** All containers of earlier servers are gone: what they had begun may be tried again. */
  swept(): void {
    this.#release(Infinity);
  }

  /** Ends an attempt because nobody wants it any more. Returns whether there was one. */
  cancel(invocationId: string): boolean {
    const running = this.#running.get(invocationId);
    if (running === undefined) return false;
    running.cancelled = true;
    running.abort.abort(new AppError("cancelled", "The invocation was cancelled"));
    return true;
  }

  /** Takes no more work, and waits for the attempts that are being made. */
  async drain(): Promise<void> {
    this.#stopped = true;
    this.#cancelTick();
    while (this.#ends.size > 0) await Promise.all(this.#ends);
  }

  /** Ends the attempts that are being made: they are lost, and tried again by the next server. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { abort } of this.#running.values())
      abort.abort(new AppError("shutting_down", "The server stopped before the function ended"));
    await this.drain();
  }

  #tick(): void {
    const now = this.#clock.now();
    try {
      while (this.#wakeDue(now) > 0);
      this.#release(now);
      if (this.#clock.monotonic() - this.#renewedAt >= RENEW_MS) {
        this.#renewedAt = this.#clock.monotonic();
        if (this.#running.size > 0) this.#store.work.fast(() => this.#store.work.renew(now + LEASE_MS));
      }
    } catch (error) {
      this.#log.error("the queue could not be looked after, will try again", { problem: messageOf(error) });
    }
    this.wake();
    this.#cancelTick = this.#clock.after(this.#nextTick(now), () => this.#tick());
  }

  #nextTick(now: number): number {
    const soonest = this.#store.work.soonest();
    return soonest === null ? TICK_MS : Math.min(TICK_MS, Math.max(1, soonest - now));
  }

  #wakeDue(now: number): number {
    const woken = this.#store.work.fast(() => this.#store.work.wake(now));
    for (const { function_id, priority } of woken) this.#turns.add(function_id, priority);
    return woken.length;
  }

  #claimSome(): void {
    for (let claims = 0; claims < CLAIMS && this.#attempts.available; claims++) {
      const functionId = this.#turns.next((id) => this.#attempts.hasRoom(id));
      if (functionId === undefined) return;
      try {
        this.#claim(functionId);
      } catch (error) {
        // A full disk: nothing was begun.
        this.#log.error("no attempt begun, will try again", { problem: messageOf(error) });
        return;
      }
    }
    this.wake();
  }

  #claim(functionId: string): void {
    const now = this.#clock.now();
    const { work: queue, invocations, attempts } = this.#store;
    const running = queue.fast(() => {
      const work = queue.next(functionId);
      const record = work && invocations.get(work.invocation_id);
      if (work === undefined || record === undefined) return undefined;
      queue.lease(work.invocation_id, now + LEASE_MS);
      const number = work.attempts + 1;
      const attempt = beganAttempt(number, timestamp(now));
      const invocation: Invocation = { ...moved(record, "claim"), attempts: number, run_at: null };
      invocations.put(invocation);
      attempts.save(work.invocation_id, attempt);
      const leased: Work = { ...work, state: "leased", attempts: number, lease_until: now + LEASE_MS };
      return { work: leased, invocation, attempt, abort: new AbortController(), cancelled: false };
    });
    this.#turns.took(functionId, queue.next(functionId)?.priority);
    if (running === undefined) return;
    this.#running.set(running.work.invocation_id, running);
    this.#events.changed(running.invocation);
    const end = this.#attempt(running).finally(() => {
      this.#ends.delete(end);
      this.wake();
    });
    this.#ends.add(end);
  }

  async #attempt(running: Running): Promise<void> {
    const { invocation, work } = running;
    const { id } = invocation;
    try {
      const result = await this.#attempts.run({
        invocation,
        attempt: work.attempts,
        signal: running.abort.signal,
        onHandover: (forMs) => this.#store.work.fast(() => this.#store.work.hold(id, this.#clock.now() + forMs)),
        onLogs: (entries) => this.#events.logged(id, entries),
      });
      // What may run on is not tried again before it is known to be gone; its lease is renewed meanwhile.
      await result.gone;
      await this.#write(running, () => this.#end(running, result));
    } catch (error) {
      await this.#write(running, () => this.#notBegun(running, error));
    } finally {
      this.#running.delete(id);
    }
  }

  /** Writes an end until it is written: the disk may be full for a while, and the lease is renewed meanwhile. */
  async #write(running: Running, write: () => Invocation): Promise<void> {
    for (;;) {
      try {
        this.#events.changed(this.#store.work.fast(write));
        return;
      } catch (error) {
        this.#log.error("an end is not written, will try again", { request_id: running.invocation.id, error });
        // A server that stops leaves it to the next one, which finds the lease and makes another attempt.
        if (this.#stopped) return;
        await new Promise<void>((resolve) => this.#clock.after(TICK_MS, resolve));
      }
    }
  }

  /** Part of a transaction: what an attempt that was made leaves. */
  #end(running: Running, result: AttemptResult): Invocation {
    const { work, invocation: before, abort, cancelled } = running;
    const now = this.#clock.now();
    const { finished } = result;
    const lost = result.lost || (abort.signal.aborted && !cancelled && finished.status === "cancelled");
    this.#store.attempts.save(
      work.invocation_id,
      endedAttempt(running.attempt, finished, lost, timestamp(now)),
      result.logs,
    );
    const record: Invocation = { ...before, ...finished.fields, finished_at: timestamp(now) };
    if (finished.status === "succeeded") return this.#finish(moved(record, "succeed"), result);
    if (cancelled) return this.#finish({ ...moved(record, "cancel"), reason: "cancelled" }, result);
    if (lost) return this.#lose(work, record, now);
    const counted = work.attempts - work.lost_attempts;
    const verdict = judgeRetry(
      this.#attempts.retryOf(before),
      { reason: record.reason, attempts: counted, wish: result.wish },
      this.#clock.random(),
    );
    if (!verdict.retry) return this.#finish(moved(record, "give_up"), result);
    return this.#requeue(work, moved(record, "retry"), now + verdict.after_ms);
  }

  /** Part of a transaction: the function was not handed the request. */
  #notBegun(running: Running, error: unknown): Invocation {
    const { work, invocation, cancelled, abort } = running;
    const now = this.#clock.now();
    const known =
      error instanceof AppError ? error : new AppError("internal", "Internal error: the server's log has more");
    if (known.reason === "internal") this.#log.error("attempt failed", { request_id: invocation.id, error });
    const record = { ...invocation, reason: known.reason, message: known.message };
    if (cancelled) return this.#finish({ ...moved(record, "cancel"), finished_at: timestamp(now) }, undefined);
    // Nobody was asked to do anything: it is no attempt.
    if (abort.signal.aborted || !this.#attempts.available || NO_PLACE.has(known.reason)) {
      this.#store.attempts.remove(invocation.id, work.attempts);
      const after = known.retry_after_s === undefined ? NO_PLACE_MS : known.retry_after_s * 1000;
      return this.#requeue({ ...work, attempts: work.attempts - 1 }, moved(record, "lose"), now + after);
    }
    const finished: Finished = { status: "failed", fields: { reason: known.reason, message: known.message } };
    this.#store.attempts.save(invocation.id, endedAttempt(running.attempt, finished, false, timestamp(now)));
    const counted = work.attempts - work.lost_attempts;
    const failed = { reason: known.reason, attempts: counted };
    const verdict = judgeRetry(this.#attempts.retryOf(invocation), failed, this.#clock.random());
    if (verdict.retry) return this.#requeue(work, moved(record, "retry"), now + verdict.after_ms);
    return this.#finish({ ...moved(record, "give_up"), finished_at: timestamp(now) }, undefined);
  }

  #finish(invocation: Invocation, result: AttemptResult | undefined): Invocation {
    this.#store.work.remove(invocation.id);
    this.#store.invocations.put(invocation, result?.logs);
    if (result !== undefined)
      this.#store.payloads.answer(invocation.id, { response: result.response, response_meta: result.response_meta });
    this.#consequences(invocation, result);
    return invocation;
  }

  #requeue(work: Work, record: Invocation, due: number): Invocation {
    const { attempts } = work;
    const invocation: Invocation = { ...record, attempts, run_at: timestamp(due), finished_at: null };
    this.#store.work.put({ ...work, state: "waiting", due, lease_until: null });
    this.#store.invocations.put(invocation);
    return invocation;
  }

  #lose(work: Work, record: Invocation, now: number): Invocation {
    const lost_attempts = work.lost_attempts + 1;
    if (lost_attempts < LOST_ATTEMPTS) return this.#requeue({ ...work, lost_attempts }, moved(record, "lose"), now);
    const message = `${LOST_ATTEMPTS} attempts were lost with the server or the engine: POST /v1/invocations/<id>/replay tries again`;
    return this.#finish({ ...moved(record, "give_up"), reason: "instance_lost", message }, undefined);
  }

  /** What an earlier server had leased. Its containers may still be there. */
  #loseLeases(): void {
    const { work: queue } = this.#store;
    const lost = queue.fast(() => queue.loseLeases());
    if (lost > 0) this.#log.warn("attempts lost with an earlier server, they will be made again", { count: lost });
  }

  /** Frees what was lost with an earlier server, where its lease has ended by then. */
  #release(until: number): void {
    const { work: queue, invocations, attempts } = this.#store;
    for (;;) {
      const freed = queue.fast(() =>
        queue.lost(until).map((work) => {
          const record = invocations.get(work.invocation_id);
          if (record === undefined) return queue.remove(work.invocation_id);
          const now = timestamp(this.#clock.now());
          const message = "The server ended before the function did";
          const finished: Finished = { status: "failed", fields: { reason: "instance_lost", message } };
          const began = attempts.get(work.invocation_id, work.attempts) ?? beganAttempt(work.attempts, now);
          attempts.save(work.invocation_id, endedAttempt(began, finished, true, now));
          return this.#lose(work, { ...record, ...finished.fields, finished_at: now }, this.#clock.now());
        }),
      );
      for (const invocation of freed) if (invocation) this.#events.changed(invocation);
      if (freed.length === 0) return;
    }
  }
}

/** There was no place, or no engine: that says nothing of the function. */
const NO_PLACE: ReadonlySet<string> = new Set(["overloaded", "too_many_requests", "shutting_down"]);

/** The record in the state that an event leads to (work.ts). */
function moved(record: Invocation, event: WorkEvent): Invocation {
  const status = nextState(record.status, event);
  if (status === undefined) throw new Error(`An invocation that is ${record.status} cannot ${event}`);
  return { ...record, status };
}
