import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Store } from "../../store/sqlite/store.ts";
import type { Work } from "../../store/sqlite/tables/work.ts";
import type { AttemptMaker, Running } from "./attempts.ts";
import { beganAttempt, endedAttempt, LOST_WITH_SERVER } from "./attempt-record.ts";
import type { InvocationEvents } from "../calls/events.ts";
import { ContainerExits } from "./container-exits.ts";
import { FunctionRotation } from "./function-rotation.ts";
import { type Consequences, moved, WorkEnds, type Written } from "./ends.ts";

/** How long a lease lasts from its last renewal, and how often all are renewed, in milliseconds. */
const LEASE_MS = 30_000;
const RENEW_MS = 10_000;
/** How often the worker looks for what it was not told of, in milliseconds: an engine that is back, what has become due. */
const TICK_MS = 1_000;
/** How long a server that stops waits to hear that the containers of what it ended are gone, in milliseconds. */
const LAST_ENDS_MS = 2_000;
/** Attempts that are begun in one go, in some 2 ms; then everyone else has a turn. */
const CLAIMS = 20;

/**
 * Does what is queued. It takes work with a lease (queued-work.ts has the states), has the attempt made, and writes its end in
 * one transaction with everything that follows from it: a result is never without its callback, nor the other way round.
 *
 * What a server that died had leased is *lost*: it is free again when all containers of that server are known to be gone
 * (`swept`), or when its lease ends, which is after the deadline that its gate enforces. So an invocation never runs
 * beside itself, whatever died.
 */
export class Worker implements AsyncDisposable {
  readonly #store: Pick<Store, "work" | "invocations" | "attempts" | "payloads">;
  readonly #attempts: AttemptMaker;
  readonly #events: InvocationEvents;
  readonly #ended: WorkEnds;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #turns = new FunctionRotation();
  readonly #running = new Map<string, Running>();
  readonly #ends = new Set<Promise<void>>();
  readonly #exits: ContainerExits;
  /** Whether there may be work that was lost with an earlier server: until the first sweep, which frees all of it. */
  #mayHaveLost = true;
  #stopped = true;
  #pumping = false;
  #renewedAt = -Infinity;
  #cancelTick: () => void = () => undefined;
  #cancelLast: () => void = () => undefined;

  constructor(options: {
    store: Pick<Store, "work" | "invocations" | "attempts" | "payloads">;
    attempts: AttemptMaker;
    events: InvocationEvents;
    consequences: Consequences;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#attempts = options.attempts;
    this.#events = options.events;
    this.#ended = new WorkEnds(options);
    this.#exits = new ContainerExits(options.clock);
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
    if (this.#mayHaveLost) this.#release(Infinity);
  }

  /** Ends an attempt because nobody wants it any more. Returns whether there was one. */
  cancel(invocationId: string): boolean {
    const running = this.#running.get(invocationId);
    if (running === undefined) return false;
    running.cancelled = true;
    running.abort.abort(new AppError("cancelled", "The invocation was cancelled"));
    return true;
  }

  /** Takes no more work, and waits for the attempts that are being made; after the grace it ends them. */
  async drain(graceMs: number): Promise<void> {
    this.#stop();
    const cancel = this.#clock.after(graceMs, () => this.#endAll());
    await this.#idle();
    cancel();
  }

  /** Ends the attempts that are being made: they are lost, and tried again by the next server. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    this.#endAll();
    await this.#idle();
  }

  #stop(): void {
    this.#stopped = true;
    this.#cancelTick();
  }

  #endAll(): void {
    for (const { abort } of this.#running.values())
      abort.abort(new AppError("shutting_down", "The server stopped before the function ended"));
    this.#cancelLast();
    this.#cancelLast = this.#clock.after(LAST_ENDS_MS, () => this.#exits.abandon());
  }

  async #idle(): Promise<void> {
    while (this.#ends.size > 0) await Promise.all(this.#ends);
    this.#cancelLast();
  }

  #tick(): void {
    const now = this.#clock.now();
    let afterMs = TICK_MS;
    try {
      // Nothing is written where there is nothing to do: a server at rest is to stay there.
      if ((this.#store.work.soonest() ?? Infinity) <= now) this.#wakeDue(now);
      if (this.#mayHaveLost) this.#release(now);
      if (this.#clock.monotonic() - this.#renewedAt >= RENEW_MS) {
        this.#renewedAt = this.#clock.monotonic();
        if (this.#running.size > 0) this.#store.work.fast(() => this.#store.work.renew(now + LEASE_MS));
      }
      afterMs = this.#nextTick(now);
    } catch (error) {
      this.#log.error("the queue could not be looked after, will try again", { problem: messageOf(error) });
    }
    this.wake();
    this.#cancelTick = this.#clock.after(afterMs, () => this.#tick());
  }

  /** What is due already is more than a batch: the rest has its turn after everyone else had theirs. */
  #nextTick(now: number): number {
    const soonest = this.#store.work.soonest();
    return soonest === null ? TICK_MS : Math.min(TICK_MS, Math.max(1, soonest - now));
  }

  #wakeDue(now: number): void {
    const woken = this.#store.work.fast(() => this.#store.work.wake(now));
    for (const { function_id, priority } of woken) this.#turns.add(function_id, priority);
  }

  #claimSome(): void {
    for (let claims = 0; claims < CLAIMS; claims++) {
      // Whoever has nothing to do, or nothing to do it with, is woken when that changes.
      if (!this.#attempts.available) return;
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
    this.#tell({ invocation: running.invocation, committed: undefined });
    const end = this.#attempt(running).finally(() => {
      this.#ends.delete(end);
      this.wake();
    });
    this.#ends.add(end);
  }

  async #attempt(running: Running): Promise<void> {
    try {
      const write = await this.#make(running);
      if (write !== undefined) await this.#write(running, write);
    } finally {
      this.#running.delete(running.invocation.id);
    }
  }

  /** Makes an attempt, and tells what writes its end; nothing where that is left to the next server. */
  async #make(running: Running): Promise<(() => Written) | undefined> {
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
      return (await this.#exits.wait(running, result.gone)) ? () => this.#ended.end(running, result) : undefined;
    } catch (error) {
      return () => this.#ended.notBegun(running, error);
    }
  }

  /** Writes an end until it is written: the disk may be full for a while, and the lease is renewed meanwhile. */
  async #write(running: Running, write: () => Written): Promise<void> {
    for (;;) {
      try {
        const written = this.#store.work.fast(write);
        return this.#tell(written);
      } catch (error) {
        this.#log.error("an end is not written, will try again", { request_id: running.invocation.id, error });
        // A server that stops leaves it to the next one, which finds the lease and makes another attempt.
        if (this.#stopped) return;
        await new Promise<void>((resolve) => this.#clock.after(TICK_MS, resolve));
      }
    }
  }

  /** After the commit: whatever goes wrong here does not undo it. */
  #tell({ invocation, committed }: Written): void {
    try {
      this.#events.changed(invocation);
      committed?.();
    } catch (error) {
      this.#log.error("a change was not told of", { request_id: invocation.id, error });
    }
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
          const began = attempts.get(work.invocation_id, work.attempts) ?? beganAttempt(work.attempts, now);
          attempts.save(work.invocation_id, endedAttempt(began, LOST_WITH_SERVER, true, now));
          return this.#ended.lose(work, { ...record, ...LOST_WITH_SERVER.fields, finished_at: now }, this.#clock.now());
        }),
      );
      for (const written of freed) if (written) this.#tell(written);
      if (freed.length === 0) break;
    }
    if (until === Infinity) this.#mayHaveLost = false;
  }
}
