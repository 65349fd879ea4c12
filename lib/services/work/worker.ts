import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { Alarm, TaskGroup } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { LogFields, Logger } from "../../log.ts";
import type { End, Ledger } from "../../store/ledger.ts";
import type { CallbackService } from "../callbacks/callbacks.ts";
import type { InvocationEvents } from "../calls/events.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { AttemptMaker, Running } from "./attempts.ts";
import { Claimer, type Reserve, type Taken } from "./claimer.ts";
import { ContainerExits } from "./container-exits.ts";
import { cancelAttempt, endUnwanted } from "./end-unwanted.ts";
import type { EndJudge } from "./ends.ts";
import { FunctionRotation } from "./function-rotation.ts";
import { LEASE_MS, TICK_MS, Upkeep } from "./upkeep.ts";

/**
 * The most that may pass from asking for a hold of the work until its function has the request, in milliseconds: a slow database, and
 * a server that is stopped for a moment. The hold lasts longer by as much.
 */
const HANDOVER_MS = 5_000;
/** The most that a stopping server waits until the containers of attempts that it ended are gone, in milliseconds. */
const LAST_ENDS_MS = 2_000;

interface WorkerDeps {
  readonly ledger: Ledger;
  readonly attempts: AttemptMaker;
  readonly ends: EndJudge;
  readonly events: InvocationEvents;
  readonly callbacks: Pick<CallbackService, "wake">;
  readonly tracing: Pick<Tracing, "ended">;
  /** Reserves places of those that servers share, before work is claimed; see `AttemptRunner`. Left out if there is one server. */
  readonly reserve?: Reserve;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Does the work that is queued. It takes work with a lease (domain/calls/states.ts has the states), has the attempt made,
 * and writes its end in one command with everything that follows from it: a result is never without its callback, nor the
 * other way round.
 *
 * Work that a server had leased when it died is *lost*: it is free again when all containers of that server are known to
 * be gone (`swept`), or when its lease ends, which is after the deadline that its gate enforces. So an invocation never
 * runs twice at the same time, whatever died.
 */
export class Worker implements AsyncDisposable {
  readonly #deps: WorkerDeps;
  readonly #rotation = new FunctionRotation();
  readonly #claimer: Claimer;
  readonly #running = new Map<string, Running>();
  /** The attempts with the writing of their ends, and the looks for work. */
  readonly #tasks = new TaskGroup();
  readonly #exits: ContainerExits;
  readonly #upkeep: Upkeep;
  readonly #nextTick: Alarm;
  #stopped = true;
  #isLeaving = false;
  #pumping = false;
  /** True if there is a reason to look for work again after the look under way. */
  #lookAgain = false;
  #cancelLast: () => void = () => undefined;

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    this.#claimer = new Claimer({ ...deps, rotation: this.#rotation, lease_ms: LEASE_MS });
    this.#exits = new ContainerExits(deps.clock);
    this.#upkeep = new Upkeep({
      ...deps,
      rotation: this.#rotation,
      running: this.#running,
      onEnd: (end) => this.#tell(end),
    });
    this.#nextTick = new Alarm(deps.clock, () => this.#tick());
  }

  /** The number of attempts that are being made. */
  get running(): number {
    return this.#running.size;
  }

  /** Takes over the work that an earlier server left, and begins to work. */
  start(): void {
    this.#stopped = false;
    this.#tick();
  }

  /** Passes on that an invocation was queued, and takes it when it is due. */
  queued(invocation: Invocation): void {
    const { function_id, priority, run_at, created_at } = invocation;
    // Not by the clock, which may have been set back since: as the ledger decides whether it is ready.
    const isReady = run_at !== null && run_at <= created_at;
    if (isReady) this.#rotation.add(function_id, priority, 1);
    this.wake();
    this.#deps.events.changed(invocation);
  }

  /** Looks for something to do, once other tasks have had their turn. */
  wake(): void {
    if (this.#stopped) return;
    this.#lookAgain = true;
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => void this.#tasks.add(this.#pump()));
  }

  /** Notes that all containers of earlier servers are gone: the attempts in them may be made again. */
  swept(): void {
    if (this.#upkeep.swept() && !this.#stopped) this.#tick();
  }

  /** Ends an attempt because its invocation was cancelled. Returns whether there was one. */
  cancel(invocationId: string): boolean {
    const running = this.#running.get(invocationId);
    if (running === undefined) return false;
    cancelAttempt(running);
    return true;
  }

  /** Returns whether an attempt at an invocation is being made here. */
  isRunning(invocationId: string): boolean {
    return this.#running.has(invocationId);
  }

  /** Passes on that another server may have asked for the end of an attempt: it need not wait for the next tick. */
  cancelledElsewhere(): void {
    const failed = (error: unknown) =>
      this.#deps.log.debug("cannot look for cancellations", { reason: messageOf(error) });
    if (!this.#stopped) void this.#tasks.add(endUnwanted(this.#running, this.#deps).catch(failed));
  }

  /** Passes on that another server has given back a place of a function that all of them share. */
  sharedPlaceFreed(functionId: string): void {
    this.#rotation.add(functionId, 0);
    this.wake();
  }

  /** Takes no more work, and goes on with the attempts that are being made: the server is about to stop. */
  leave(): void {
    this.#isLeaving = true;
  }

  /** Takes no more work, and waits for the attempts that are being made; after the grace it ends them. */
  async drain(graceMs: number): Promise<void> {
    this.#stop();
    const cancel = this.#deps.clock.after(graceMs, () => this.#endAll());
    await this.#idle();
    cancel();
  }

  /** Ends the attempts that are being made: they are lost, and made again by the next server. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    this.#endAll();
    await this.#idle();
  }

  #stop(): void {
    this.#stopped = true;
    this.#nextTick.clear();
  }

  #endAll(): void {
    for (const { abort } of this.#running.values())
      abort.abort(new AppError("shutting_down", "The server stopped before the function ended"));
    this.#cancelLast();
    this.#cancelLast = this.#deps.clock.after(LAST_ENDS_MS, () => this.#exits.abandon());
  }

  async #idle(): Promise<void> {
    await this.#tasks.settled();
    this.#cancelLast();
  }

  #tick(): void {
    void this.#tasks.add(this.#maintain());
  }

  /** Never rejects. */
  async #maintain(): Promise<void> {
    const afterMs = await this.#upkeep.run();
    if (this.#stopped) return;
    this.wake();
    this.#nextTick.set(afterMs);
  }

  async #pump(): Promise<void> {
    this.#lookAgain = false;
    const mayHaveMore = await this.#claimSome();
    this.#pumping = false;
    if (mayHaveMore || this.#lookAgain) this.wake();
  }

  /** Takes work and begins attempts. Returns whether there may be more to begin. */
  async #claimSome(): Promise<boolean> {
    // If there is nothing to do, or no engine or room to do it with, the worker is woken when that changes.
    if (this.#rotation.size === 0 || !this.#mayBegin) return false;
    try {
      const taken = await this.#claimer.take();
      if (taken === undefined) return false;
      const back = taken.filter((one) => !this.#begin(one));
      if (back.length > 0) void this.#tasks.add(this.#giveBack(back));
      return true;
    } catch (error) {
      // A full disk: nothing was begun.
      this.#deps.log.error("no attempt begun, will try again", { problem: messageOf(error) });
      return false;
    }
  }

  get #mayBegin(): boolean {
    return !this.#stopped && !this.#isLeaving && this.#deps.attempts.available;
  }

  /** Begins an attempt, unless there is no room for it any more. Returns whether it has begun. */
  #begin(taken: Taken): boolean {
    if (!this.#mayBegin || this.#deps.attempts.room(taken.work.function_id) < 1) return false;
    const running: Running = { ...taken, abort: new AbortController(), cancelled: false };
    this.#running.set(running.invocation.id, running);
    this.#changed(running.invocation);
    void this.#tasks.add(this.#attempt(running));
    return true;
  }

  /** Gives back work whose attempts could not be begun, until that is written. */
  async #giveBack(taken: readonly Taken[]): Promise<void> {
    for (const { shared_place } of taken) shared_place?.();
    await this.#untilWritten("work that is given back", { count: taken.length }, () =>
      this.#deps.ledger.giveBack(taken),
    );
    for (const { work } of taken) this.#rotation.add(work.function_id, work.priority, 1);
  }

  async #attempt(running: Running): Promise<void> {
    try {
      const made = await this.#make(running);
      if (made !== undefined && (await this.#write(running, made.end))) made.count?.();
    } finally {
      // The end of this attempt may have been written long ago without an answer, and another attempt been made since.
      if (this.#running.get(running.invocation.id) === running) this.#running.delete(running.invocation.id);
      running.shared_place?.();
      this.wake();
    }
  }

  /** Makes an attempt and returns how it ends; undefined if that is left to the next server. `count` is of one that was made. */
  async #make(running: Running): Promise<{ readonly end: () => End; readonly count?: () => void } | undefined> {
    const { attempts, ends, events } = this.#deps;
    const { invocation, work } = running;
    try {
      const result = await attempts.run({
        invocation,
        attempt: work.attempts,
        signal: running.abort.signal,
        shared_place: running.shared_place,
        onHandover: (forMs) => this.#hold(running, forMs),
        onLogs: (entries) => events.logged(invocation, entries),
      });
      const { gone, count } = result;
      return (await this.#exits.wait(running, gone)) ? { end: () => ends.made(running, result), count } : undefined;
    } catch (error) {
      return { end: () => ends.notBegun(running, error) };
    }
  }

  /**
   * Holds the work for as long as the function may run, and returns the moment by which it must have the request so as not to outlast
   * the hold. Throws if another server has the work by now, or if that moment has passed.
   */
  async #hold({ work: { invocation_id, attempts: attempt } }: Running, forMs: number): Promise<number> {
    const { ledger, clock } = this.#deps;
    const by = clock.monotonic() + HANDOVER_MS;
    const held = await ledger.hold({ invocation_id, attempt }, clock.now() + HANDOVER_MS + forMs);
    if (!held) throw new AppError("shutting_down", "The attempt has lost its lease");
    if (clock.monotonic() > by) throw new AppError("shutting_down", "The lease of the attempt was renewed too late");
    return by;
  }

  /** Writes an end until it is written. Returns whether the attempt still had its lease. */
  async #write({ invocation: { id: request_id } }: Running, decide: () => End): Promise<boolean> {
    const { ledger, log } = this.#deps;
    const written = await this.#untilWritten("an end", { request_id }, async () => {
      const end = decide();
      const isHeld = await ledger.end(end);
      if (isHeld) this.#tell(end);
      else log.warn("an attempt ended after its lease, its result is dropped", { request_id, attempt: end.attempt });
      return isHeld;
    });
    return written === true;
  }

  /** Tries to write until it is done: the disk may be full for a while, and leases are renewed meanwhile. */
  async #untilWritten<T>(what: string, fields: LogFields, write: () => Promise<T>): Promise<T | undefined> {
    const { clock, log } = this.#deps;
    for (;;) {
      try {
        return await write();
      } catch (error) {
        log.error(`${what} is not written, will try again`, { ...fields, error });
        // A server that stops leaves it to the next one, which finds the lease and makes another attempt.
        if (this.#stopped) return undefined;
        await new Promise<void>((resolve) => clock.after(TICK_MS, resolve));
      }
    }
  }

  /** Starts what follows from an end that is written. */
  #tell(end: End): void {
    const { invocation, deliveries, submissions } = end;
    this.#deps.tracing.ended(end);
    this.#changed(invocation);
    if (deliveries.length > 0) this.#deps.callbacks.wake();
    for (const submission of submissions) this.queued(submission.invocation);
  }

  /** Passes on a change of an invocation: an error of a listener does not undo what is written. */
  #changed(invocation: Invocation): void {
    try {
      this.#deps.events.changed(invocation);
    } catch (error) {
      this.#deps.log.error("a change was not told of", { request_id: invocation.id, error });
    }
  }
}
