import { AppError, type Reason } from "../../../lib/domain/errors.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { RETRY_DEFAULT } from "../../../lib/domain/functions/retry.ts";
import type { AttemptResult, AttemptMaker, Task } from "../../../lib/services/work/attempts.ts";
import { InvocationEvents } from "../../../lib/services/calls/events.ts";
import { EndJudge } from "../../../lib/services/work/ends.ts";
import { Queue } from "../../../lib/services/work/queue.ts";
import { Worker } from "../../../lib/services/work/worker.ts";
import type { End } from "../../../lib/store/ledger.ts";
import { openDatabase } from "../../../lib/store/sqlite/open.ts";
import { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { listeningLog, someFunction, stillClock } from "../../store/sqlite/support/stores.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import { NO_TRACING } from "./no-tracing.ts";

/** The time that a function may run from its handover, in milliseconds: longer than a lease, as a gate may allow. */
const MAY_RUN_MS = 90_000;
const PLACES = 3;

/** An attempt of the server that lives now. */
interface Pending {
  readonly task: Task;
  readonly end: PromiseWithResolvers<AttemptResult>;
  handedOver: boolean;
}

/** The end of an attempt that was handed over. */
export type Ending = { readonly reason: Reason | null; readonly wish?: AttemptResult["wish"] };

/**
 * A database, the servers that have it one after the other, and an engine whose functions outlive them. What must never
 * happen goes to `wrongs` when it happens.
 */
export class WorkWorld implements AsyncDisposable {
  readonly store: SqliteStore;
  readonly wrongs: string[] = [];
  readonly submitted: string[] = [];
  /** From committed transactions only. */
  readonly consequences: Invocation[] = [];
  /** The number of times that a worker has asked whether there is an engine. */
  looks = 0;
  /** The number of runs of each function. */
  readonly runs = new Map<string, number>();
  /** The functions that the engine runs, and until when at most; the server that began them may be dead. */
  readonly #functions = new Map<string, number>();
  #pending = new Map<string, Pending>();
  #gone = Promise.withResolvers<void>();
  #isFull = false;
  #isEngineUp = true;
  clock = new FakeClock();
  #server: ReturnType<WorkWorld["startServer"]>;
  /** The cancels that this server was asked for; those of a server that was killed get no answer. */
  #cancels: Promise<unknown>[] = [];
  /** True if listeners of invocations throw. */
  listenersFail = false;

  constructor() {
    const clock = stillClock();
    const database = openDatabase(":memory:", { log: listeningLog().log, clock });
    const [transaction, durably] = [database.transaction.bind(database), database.durably.bind(database)];
    const refusing =
      <T>(change: () => T) =>
      () => {
        const result = change();
        if (!this.#isFull) return result;
        // At the end, so that everything is rolled back, and no caller may have relied on it.
        throw new AppError("storage_full", "The disk is full");
      };
    database.transaction = (durability, change) => transaction(durability, refusing(change));
    database.durably = (change, committed) => durably(refusing(change), committed);
    this.store = new SqliteStore(database, clock);
    this.#listen();
    this.#server = this.startServer();
  }

  /** Takes note of the ends that are committed. */
  #listen(): void {
    const { ledger } = this.store;
    const [end, release] = [ledger.end.bind(ledger), ledger.release.bind(ledger)];
    const cancelUnattended = ledger.cancelUnattended.bind(ledger);
    const note = ({ left, invocation }: End) => left === null && this.consequences.push(invocation);
    ledger.end = async (one) => {
      const isWritten = await end(one);
      if (isWritten) note(one);
      return isWritten;
    };
    ledger.release = async (ends) => {
      const written = await release(ends);
      for (const one of written) note(one);
      return written;
    };
    ledger.cancelUnattended = async (one) => {
      const isWritten = await cancelUnattended(one);
      if (isWritten) note(one);
      return isWritten;
    };
  }

  get pending(): readonly Pending[] {
    return [...this.#pending.values()];
  }

  /** Kills the server and starts another: functions run on until the sweep, or their deadline. */
  async kill(): Promise<void> {
    await settled();
    this.#pending = new Map();
    this.#gone = Promise.withResolvers();
    this.#cancels = [];
    this.#next();
  }

  /** Stops the server and starts another. */
  async stop(): Promise<void> {
    const drained = this.#server.worker.drain(1_000);
    await this.advance(5_000);
    await drained;
    await this.kill();
  }

  /** Removes containers without an attempt: those of earlier servers, and those that were lost with the engine. */
  sweep(): void {
    if (!this.#isEngineUp) return;
    for (const id of this.#functions.keys()) if (!this.#pending.has(id)) this.#functions.delete(id);
    this.#gone.resolve();
    this.#gone = Promise.withResolvers();
    this.#server.worker.swept();
  }

  /** Kills the engine: its functions run on, and their streams are lost. */
  engineDown(): void {
    if (!this.#isEngineUp) return;
    this.#isEngineUp = false;
    const lost = new AppError("engine_unavailable", "The engine is away");
    for (const one of this.pending) {
      if (!one.handedOver) this.#throw(one, lost);
      else this.#settle(one, { reason: "engine_unavailable" }, { lost: true, gone: this.#gone.promise });
    }
  }

  /** Lets the engine answer again; its running functions are not swept yet. */
  engineUp(): void {
    this.#isEngineUp = true;
  }

  diskFull(isFull: boolean): void {
    this.#isFull = isFull;
  }

  /** Submits an invocation; a refused one was not promised. */
  async submit(functionId: string, priority: number, delayMs: number): Promise<void> {
    const id = `${functionId}-${this.submitted.length}`;
    const target = { function: someFunction(functionId), route_id: null, key_id: null };
    const submission = { id, target, body: Buffer.from("{}"), request_meta: null, priority };
    const promise = this.#server.queue.submit({ ...submission, due: this.clock.now() + delayMs });
    const isPromised = await promise.then(
      () => true,
      () => false,
    );
    if (isPromised) this.submitted.push(id);
    else if (this.store.tables.invocations.get(id) !== undefined) this.wrongs.push(`${id} was refused, and is there`);
  }

  /** Cancels an invocation; the answer may be that there is nothing to cancel any more. */
  cancel(id: string): void {
    const cancelled = this.#server.queue.cancel(id).catch((error: unknown) => {
      const known = error instanceof AppError && ["conflict", "storage_full"].includes(error.reason);
      if (!known) this.wrongs.push(`cancel of ${id}: ${String(error)}`);
    });
    this.#cancels.push(cancelled);
  }

  /** Hands the function its request, and lets it run. */
  async handOver(one: Pending): Promise<void> {
    if (one.handedOver) return;
    const { id } = one.task.invocation;
    try {
      await one.task.onHandover(MAY_RUN_MS);
    } catch (error) {
      return this.#throw(one, error);
    }
    one.handedOver = true;
    if (this.#isRunning(id)) this.wrongs.push(`${id} ran twice at the same time`);
    this.#functions.set(id, this.clock.now() + MAY_RUN_MS);
    this.runs.set(id, (this.runs.get(id) ?? 0) + 1);
  }

  /** Ends the function. */
  finish(one: Pending, ending: Ending): void {
    if (!one.handedOver) return;
    this.#functions.delete(one.task.invocation.id);
    this.#settle(one, ending);
  }

  /** Fails the attempt before the function gets its request: no place, no image, or another fault. */
  refuse(one: Pending, error: unknown): void {
    if (!one.handedOver) this.#throw(one, error);
  }

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
    for (const one of this.pending) {
      const isLate = one.handedOver && !this.#isRunning(one.task.invocation.id);
      if (isLate) this.finish(one, { reason: "function_timeout" });
    }
    await settled();
  }

  /** Lets everything end, and returns whether it did. */
  async settle(): Promise<boolean> {
    this.diskFull(false);
    this.engineUp();
    this.sweep();
    for (let step = 0; step < 200 && this.store.tables.work.count() > 0; step++) {
      await this.advance(60_000);
      for (const one of this.pending) await this.handOver(one);
      for (const one of this.pending) this.finish(one, { reason: null });
      await settled();
    }
    await Promise.all(this.#cancels);
    return this.store.tables.work.count() === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#server.worker[Symbol.asyncDispose]();
    await this.advance(5_000);
    await ended;
    this.store[Symbol.dispose]();
  }

  /** Starts the next server. */
  startServer() {
    const events = new InvocationEvents();
    const changed = events.changed.bind(events);
    events.changed = (invocation) => {
      if (this.listenersFail) throw new Error("a mistake of a listener");
      changed(invocation);
    };
    const { ledger } = this.store;
    const { log } = listeningLog();
    const attempts = this.#attemptsOf();
    const { clock } = this;
    const ends = new EndJudge({ attempts, chains: { following: () => [] }, clock, log });
    const callbacks = { wake: () => undefined };
    const worker = new Worker({ ledger, attempts, ends, events, callbacks, tracing: NO_TRACING, clock, log });
    const queue = new Queue({ store: this.store, worker, ends, events, callbacks, tracing: NO_TRACING, clock });
    worker.start();
    return { worker, queue };
  }

  /** Starts the next server with a new clock, so that no timer of the dead one ever runs. */
  #next(): void {
    const now = this.clock.now();
    this.clock = new FakeClock();
    this.clock.jump(now - this.clock.now());
    const isFull = this.#isFull;
    // A server does not start on a full disk.
    this.#isFull = false;
    this.#server = this.startServer();
    this.#isFull = isFull;
  }

  #attemptsOf(): AttemptMaker {
    const pending = this.#pending;
    const isAvailable = () => {
      this.looks++;
      // The worker of a dead server may still look once.
      return this.#isEngineUp && this.#pending === pending;
    };
    return {
      get available() {
        return isAvailable();
      },
      room: () => PLACES - pending.size,
      retryOf: () => RETRY_DEFAULT,
      run: (task) => this.#run(task),
    };
  }

  #run(task: Task): Promise<AttemptResult> {
    const { id } = task.invocation;
    const one: Pending = { task, end: Promise.withResolvers(), handedOver: false };
    if (this.#pending.has(id)) this.wrongs.push(`${id} was attempted twice at the same time`);
    this.#pending.set(id, one);
    task.signal.addEventListener("abort", () => {
      if (this.#pending.get(id) !== one) return;
      if (one.handedOver) this.finish(one, { reason: "cancelled" });
      else this.#throw(one, task.signal.reason);
    });
    return one.end.promise;
  }

  #settle(one: Pending, { reason, wish = {} }: Ending, fields: Partial<AttemptResult> = {}): void {
    this.#pending.delete(one.task.invocation.id);
    const status = reason === null ? "succeeded" : reason === "cancelled" ? "cancelled" : "failed";
    one.end.resolve({
      finished: {
        status,
        fields: {
          reason,
          exit_code: reason === null ? 0 : null,
        },
      },
      response: Buffer.from("{}"),
      response_meta: null,
      logs: [],
      wish,
      lost: false,
      gone: Promise.resolve(),
      count: () => undefined,
      ...fields,
    });
  }

  #throw(one: Pending, error: unknown): void {
    this.#pending.delete(one.task.invocation.id);
    one.end.reject(error);
  }

  #isRunning(id: string): boolean {
    return (this.#functions.get(id) ?? 0) > this.clock.now();
  }
}
