import { createHash } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { IDEMPOTENCY, QUEUED } from "../../domain/limits.ts";
import { timestamp } from "../../domain/types.ts";
import type { Store } from "../../store/sqlite/store.ts";
import type { Payload } from "../../store/sqlite/tables/payloads.ts";
import { endedAttempt, LOST_WITH_SERVER } from "./attempt-record.ts";
import { newRecord } from "../calls/record.ts";
import type { InvocationEvents } from "../calls/events.ts";
import type { Target } from "../calls/invocations.ts";
import { CANCELLED_BEFORE_IT_RAN, type Consequences } from "./ends.ts";
import type { Worker } from "./worker.ts";

/** What is to be done later, and how it came to be. */
export interface Submission {
  /** Becomes the id of the invocation. */
  readonly id: string;
  readonly target: Target;
  readonly body: Uint8Array;
  /** What request.meta.json will say, as JSON; null where it was no HTTP request. */
  readonly request_meta: string | null;
  /** Not before this moment; milliseconds since the epoch. */
  readonly due?: number;
  readonly priority?: number;
  readonly idempotency_key?: string;
  readonly origin?: Partial<
    Pick<Invocation, "parent_id" | "replay_of" | "schedule_id" | "chain_depth" | "callback_url">
  >;
}

/** A submission that was taken, or that was taken before under the same key. */
export interface Submitted {
  readonly invocation: Invocation;
  readonly repeated: boolean;
}

/** From one look for idempotency keys that have run out to the next, and to one that found some, in milliseconds. */
const PRUNE_MS = 60_000;
const PRUNE_PAUSE_MS = 50;

/** Where asynchronous invocations come in: what it has said yes to is on the disk. */
export class Queue implements Disposable {
  readonly #store: Pick<Store, "work" | "invocations" | "attempts" | "payloads" | "idempotencyKeys">;
  readonly #worker: Worker;
  readonly #events: InvocationEvents;
  readonly #consequences: Consequences;
  readonly #clock: Clock;
  #cancelPrune: () => void = () => undefined;
  #counted = { at: -Infinity, queued: 0 };

  constructor(options: {
    store: Pick<Store, "work" | "invocations" | "attempts" | "payloads" | "idempotencyKeys">;
    worker: Worker;
    events: InvocationEvents;
    consequences: Consequences;
    clock: Clock;
  }) {
    this.#store = options.store;
    this.#worker = options.worker;
    this.#events = options.events;
    this.#consequences = options.consequences;
    this.#clock = options.clock;
  }

  /** Begins to forget idempotency keys that have run out. */
  start(afterMs = PRUNE_MS): void {
    // Where some went there may be more; others have their turn first.
    this.#cancelPrune = this.#clock.after(afterMs, () => this.start(this.#prune() > 0 ? PRUNE_PAUSE_MS : PRUNE_MS));
  }

  #prune(): number {
    const { work, idempotencyKeys } = this.#store;
    try {
      return work.fast(() => idempotencyKeys.prune(this.#clock.now() - IDEMPOTENCY.ttl_ms));
    } catch {
      // A full disk. Keys that have run out are not heeded, so they can stay.
      return 0;
    }
  }

  [Symbol.dispose](): void {
    this.#cancelPrune();
  }

  /**
   * Takes work; when the promise is fulfilled it is on the disk. Throws `overloaded` where too much waits, and
   * `idempotency_mismatch` where the key came with another request before.
   */
  async submit(submission: Submission): Promise<Submitted> {
    const submitted = await this.#store.work.durably(() => this.enqueue(submission));
    if (!submitted.repeated) this.announce(submitted.invocation);
    return submitted;
  }

  /** The same as part of the caller's transaction; `announce` it when that is committed. */
  enqueue(submission: Submission): Submitted {
    const { id, target, body, request_meta, idempotency_key: key, origin = {} } = submission;
    const repeated = key === undefined ? undefined : this.#repeated(submission, key);
    if (repeated !== undefined) return { invocation: repeated, repeated: true };
    // What follows from an invocation that has ended takes its place.
    if (origin.parent_id === undefined && this.#isFull()) {
      const message = `${QUEUED} invocations are queued already: try again later, or cancel some`;
      throw new AppError("overloaded", message, { retry_after_s: 60 });
    }
    const now = this.#clock.now();
    const due = Math.max(submission.due ?? now, now);
    const priority = submission.priority ?? 0;
    const invocation: Invocation = {
      ...newRecord(id, target, body.length, timestamp(now)),
      ...{ status: "queued", mode: "async", attempts: 0, priority, run_at: timestamp(due) },
      callback_url: target.function.callback_url,
      ...origin,
    };
    const payload: Payload = { invocation_id: id, request: body, request_meta, response: null, response_meta: null };
    const function_id = target.function.id;
    this.#store.invocations.put(invocation);
    this.#store.payloads.put(payload);
    this.#store.work.insert({
      ...{ invocation_id: id, function_id, state: due > now ? "waiting" : "ready", priority, due },
      ...{ attempts: 0, lost_attempts: 0, lease_until: null },
    });
    return { invocation, repeated: false };
  }

  /** Tells the worker, and whoever follows it, of work that is committed. */
  announce(invocation: Invocation): void {
    const { function_id, priority, run_at } = invocation;
    const state = Date.parse(run_at ?? "") > this.#clock.now() ? "waiting" : "ready";
    this.#worker.submitted({ function_id, priority, state });
    this.#events.changed(invocation);
  }

  /** Ends an invocation that is queued or running; throws `conflict` where it has ended already. */
  async cancel(id: string): Promise<Invocation> {
    const cancelled = await this.#store.work.durably(() => this.#cancelUnattended(id));
    if (cancelled !== undefined) {
      this.#events.changed(cancelled.ended);
      cancelled.committed?.();
      return cancelled.ended;
    }
    if (!this.#worker.cancel(id)) throw notCancellable(id, this.#store.invocations.get(id));
    return this.#ending(id);
  }

  /** Part of a transaction: ends what no attempt of this server is made at, if that is so. */
  #cancelUnattended(id: string): { ended: Invocation; committed: ReturnType<Consequences> } | undefined {
    const { work, invocations, attempts } = this.#store;
    const record = invocations.get(id);
    const isLost = work.get(id)?.state === "lost";
    if (record?.mode !== "async" || !(record.status === "queued" || isLost)) return undefined;
    const finished_at = timestamp(this.#clock.now());
    const attempt = isLost ? attempts.get(id, record.attempts) : undefined;
    if (attempt !== undefined) attempts.save(id, endedAttempt(attempt, LOST_WITH_SERVER, true, finished_at));
    const message = isLost ? "It was cancelled after its server had ended" : CANCELLED_BEFORE_IT_RAN;
    const ended: Invocation = {
      ...record,
      ...{ status: "cancelled", reason: "cancelled", message, run_at: null, finished_at },
    };
    work.remove(id);
    invocations.put(ended);
    return { ended, committed: this.#consequences(ended, undefined) };
  }

  /** Settles when an invocation has ended, which it has not yet. */
  #ending(id: string): Promise<Invocation> {
    const { promise, resolve } = Promise.withResolvers<Invocation>();
    const unfollow = this.#events.follow(id, (event) => {
      if (event.type === "log" || event.invocation.finished_at === null) return;
      unfollow();
      resolve(event.invocation);
    });
    return promise;
  }

  /** Counting takes 3 ms for 100,000 of them, so it is done once a second, and more rarely the more there are. */
  #isFull(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#counted.at >= Math.max(1_000, this.#counted.queued / 100))
      this.#counted = { at: now, queued: this.#store.work.count() };
    return this.#counted.queued++ >= QUEUED;
  }

  #repeated({ id, target, body }: Submission, key: string): Invocation | undefined {
    const { idempotencyKeys, invocations } = this.#store;
    const function_id = target.function.id;
    const request_hash = hashOf(body);
    const known = idempotencyKeys.get(function_id, key);
    const now = this.#clock.now();
    const invocation = known && invocations.get(known.invocation_id);
    if (known === undefined || invocation === undefined || known.created_at < now - IDEMPOTENCY.ttl_ms) {
      idempotencyKeys.put({ function_id, key, request_hash, invocation_id: id, created_at: now });
      return undefined;
    }
    if (known.request_hash === request_hash) return invocation;
    throw new AppError(
      "idempotency_mismatch",
      `The Idempotency-Key ${JSON.stringify(key)} came with another body before: send a new key for a new request`,
    );
  }
}

function hashOf(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}

function notCancellable(id: string, record: Invocation | undefined): AppError {
  if (record === undefined) return new AppError("not_found", `No invocation ${JSON.stringify(id.slice(0, 100))}`);
  if (record.mode === "sync" && record.status === "running")
    return new AppError("conflict", "A synchronous invocation ends when its caller goes away: close that connection");
  return new AppError("conflict", `The invocation is ${record.status} already, so there is nothing to cancel`);
}
