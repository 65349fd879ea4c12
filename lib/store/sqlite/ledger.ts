import type { Clock } from "../../clock.ts";
import type { Delivery } from "../../domain/calls/callbacks.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { LONGEST_LEASE_MS, QUEUED } from "../../domain/limits.ts";
import { furthest } from "../../domain/time/set-back.ts";
import { timestamp } from "../../domain/types.ts";
import type {
  AttemptId,
  AttemptsToEnd,
  Claim,
  Claimed,
  End,
  IdempotencyKey,
  Ledger,
  NewInvocation,
  ScheduledRuns,
  ScheduledSubmission,
  PendingWork,
  StoredAnswer,
  Submitted,
  Turns,
  WaitingReceiver,
} from "../ledger.ts";
import {
  beforeClaim,
  claimedWork,
  dueAgain,
  inOrder,
  newWork,
  queueFull,
  replaySlices,
  sizeOf,
  UNATTENDED,
  withoutRoom,
} from "../ledger-rules.ts";
import type { ReadyWork, Work } from "../records.ts";
import type { Database } from "./database/database.ts";
import { IdempotencyRecords } from "./idempotency.ts";
import type { Tables } from "./tables.ts";

/**
 * The ledger in SQLite. Commands that requests wait for go through the group commit. The others are done when their
 * method returns: as fast transactions, which need no sync of the disk.
 */
export class SqliteLedger implements Ledger {
  readonly isShared = false;
  readonly #database: Database;
  readonly #tables: Tables;
  readonly #clock: Clock;
  readonly #idempotency: IdempotencyRecords;
  #counted = { at: -Infinity, queued: 0 };

  constructor(database: Database, tables: Tables, clock: Clock) {
    this.#database = database;
    this.#tables = tables;
    this.#clock = clock;
    this.#idempotency = new IdempotencyRecords(tables);
  }

  submit(invocation: NewInvocation, key?: IdempotencyKey): Promise<Submitted> {
    const work = () => {
      const first = key && this.#idempotency.first(invocation.invocation, key);
      if (first !== undefined) return { invocation: first.invocation, repeated: true };
      return { invocation: this.#queue(invocation), repeated: false };
    };
    return this.#database.durably(work, undefined, "request" in invocation.request ? sizeOf(invocation.request) : 0);
  }

  submitScheduled({ before, last_due, runs }: ScheduledRuns): Promise<ScheduledSubmission> {
    return this.#database.durably(() => {
      const queued: Invocation[] = [];
      const left_out: NewInvocation[] = [];
      let { last_invocation_id } = before;
      for (const run of runs) {
        const busy = last_invocation_id !== null && this.#tables.work.get(last_invocation_id) !== undefined;
        if (busy && before.overlap === "skip") {
          left_out.push(run);
          continue;
        }
        queued.push(this.#queue(run));
        last_invocation_id = run.invocation.id;
      }
      const schedule = { ...before, last_due, last_invocation_id };
      this.#tables.schedules.replaceNow(before, schedule);
      return { schedule, queued, left_out };
    });
  }

  async replayMany(replays: readonly NewInvocation[]): Promise<Invocation[]> {
    const sized = replays
      .filter((replay) => this.#canReplay(replay))
      .map((replay) => ({ replay, bytes: this.#bytesOf(replay) }));
    let room = sized.reduce((sum, { bytes }) => sum + bytes, 0);
    const queued: Invocation[] = [];
    for (const slice of replaySlices(sized)) {
      const needed = room;
      const write = () => {
        this.#tables.payloads.requireRoom(needed);
        return slice.replays.flatMap((replay) => (this.#canReplay(replay) ? [this.#queue(replay)] : []));
      };
      try {
        queued.push(...(await this.#database.durably(write, undefined, slice.bytes)));
      } catch (error) {
        // The caller has to learn of those that are queued already.
        if (queued.length === 0) throw error;
        break;
      }
      room -= slice.bytes;
    }
    return queued;
  }

  async claim({ functions, limit, urgent }: Turns, lease: { now: number; until: number }): Promise<Claim> {
    const { work: queue } = this.#tables;
    return this.#fast(() => {
      const lines = functions.map(({ function_id, most }) => ({ most, taken: 0, next: queue.next(function_id) }));
      const claimed: Claimed[] = [];
      for (let turn = 0; turn < limit; turn++) {
        const line = nextLine(lines, turn < urgent);
        if (line?.next === undefined) break;
        claimed.push(this.#take(line.next, lease));
        line.taken++;
        line.next = queue.next(line.next.function_id);
      }
      const left = lines.flatMap(({ next }) => (next === undefined ? [] : [next]));
      return {
        claimed: inOrder(claimed),
        left: left.map(({ function_id, priority }) => ({ function_id, priority })),
      };
    });
  }

  async giveBack(claimed: readonly Claimed[]): Promise<void> {
    const { work: queue, invocations, attempts } = this.#tables;
    await this.#fast(() => {
      for (const one of claimed) {
        const { invocation_id, attempts: attempt } = one.work;
        if (!queue.giveBack(invocation_id, attempt)) continue;
        attempts.remove(invocation_id, attempt);
        invocations.put(beforeClaim(one));
      }
    });
  }

  async hold({ invocation_id, attempt }: AttemptId, until: number): Promise<boolean> {
    return this.#fast(() => this.#tables.work.hold(invocation_id, attempt, until));
  }

  async renew(until: number): Promise<void> {
    await this.#fast(() => this.#tables.work.renew(until));
  }

  async end(end: End): Promise<boolean> {
    return this.#fast(() => this.#write(end, ["leased"]));
  }

  async loseMine(): Promise<number> {
    return this.#fast(() => this.#tables.work.loseLeases());
  }

  async lost(until: number): Promise<PendingWork[]> {
    return this.#tables.work.lost(until).flatMap((work) => this.#pending(work) ?? []);
  }

  async release(ends: readonly End[]): Promise<End[]> {
    return this.#fast(() => ends.filter((end) => this.#write(end, ["lost"])));
  }

  async wake(now: number): Promise<ReadyWork[]> {
    return this.#fast(() => this.#tables.work.wake(now));
  }

  async nextDue(): Promise<number | null> {
    return this.#tables.work.soonest();
  }

  async ready(): Promise<ReadyWork[]> {
    return this.#tables.work.ready();
  }

  async count(): Promise<number> {
    return this.#tables.work.count();
  }

  async keptBytes(): Promise<number> {
    return this.#tables.payloads.totals.bytes;
  }

  async find(invocationId: string): Promise<PendingWork | undefined> {
    const work = this.#tables.work.get(invocationId);
    return work && this.#pending(work);
  }

  /** No other server has this database. */
  async askToCancel(): Promise<boolean> {
    return false;
  }

  async toEnd(attempts: readonly AttemptId[]): Promise<AttemptsToEnd> {
    const lost = attempts.filter(({ invocation_id, attempt }) => {
      const work = this.#tables.work.get(invocation_id);
      return work?.state !== "leased" || work.attempts !== attempt;
    });
    return { cancelled: [], lost: lost.map(({ invocation_id }) => invocation_id) };
  }

  cancelUnattended(end: End): Promise<boolean> {
    return this.#database.durably(() => this.#write(end, UNATTENDED));
  }

  keepKey(invocation: Invocation, key: IdempotencyKey): Promise<StoredAnswer | undefined> {
    return this.#database.durably(() => this.#idempotency.first(invocation, key));
  }

  async keepAnswer(answer: StoredAnswer): Promise<void> {
    await this.#database.durably(() => this.#idempotency.answer(answer));
  }

  async dropKey(invocation: Invocation, key: IdempotencyKey): Promise<void> {
    await this.#fast(() => this.#idempotency.forget(invocation, key));
  }

  async forgetKeys(before: number): Promise<number> {
    return this.#fast(() => this.#tables.idempotencyKeys.prune(before));
  }

  async takeBack(now: number): Promise<number> {
    const { work, invocations, deliveries, idempotencyKeys, stats } = this.#tables;
    return this.#fast(() => {
      const waits = work.takeBack(now, furthest(now));
      for (const { invocation_id, due } of waits) {
        const record = invocations.get(invocation_id);
        if (record !== undefined) invocations.put({ ...record, run_at: timestamp(due) });
      }
      const leases = work.shortenLeases(now + LONGEST_LEASE_MS);
      const others = [
        deliveries.takeBack(now),
        idempotencyKeys.takeBack(now),
        invocations.takeBack(now, furthest(now)),
        stats.takeBack(now, furthest(now)),
      ];
      return others.reduce((sum, count) => sum + count, waits.length + leases);
    });
  }

  async receivers(): Promise<WaitingReceiver[]> {
    return this.#tables.deliveries.receivers();
  }

  async dueDeliveries(receiver: string, { now, limit }: { now: number; limit: number }): Promise<Delivery[]> {
    return this.#tables.deliveries.due(receiver, now, limit);
  }

  async saveDelivery(delivery: Delivery): Promise<void> {
    const { deliveries, payloads } = this.#tables;
    await this.#fast(() => {
      deliveries.put(delivery);
      if (delivery.state !== "waiting") payloads.settle(delivery.invocation_id, this.#clock.now());
    });
  }

  resend(invocationId: string, now: number): Promise<Delivery | undefined> {
    const { deliveries, payloads } = this.#tables;
    return this.#database.durably(() => {
      const before = deliveries.get(invocationId);
      if (before === undefined) return undefined;
      const after = dueAgain(before, now);
      deliveries.put(after);
      payloads.settle(invocationId, null);
      return after;
    });
  }

  #fast<T>(work: () => T): Promise<T> {
    return this.#database.fast(work);
  }

  /** Part of a transaction: takes work that is ready. */
  #take(work: Work, { now, until }: { now: number; until: number }): Claimed {
    const { work: queue, invocations, attempts } = this.#tables;
    const { invocation_id } = work;
    const before = invocations.get(invocation_id);
    if (before === undefined) throw new Error(`There is no record of the queued invocation ${invocation_id}`);
    queue.lease(invocation_id, until);
    const leased: Work = { ...work, state: "leased", attempts: work.attempts + 1, lease_until: until };
    const claimed = claimedWork(leased, before, now);
    invocations.put(claimed.invocation);
    attempts.save(invocation_id, claimed.attempt);
    return claimed;
  }

  #pending(work: Work): PendingWork | undefined {
    const invocation = this.#tables.invocations.get(work.invocation_id);
    const attempt = this.#tables.attempts.get(work.invocation_id, work.attempts) ?? null;
    return invocation && { work, invocation, attempt };
  }

  /** Part of a transaction: writes an end if the work is in one of these states, and at that attempt. */
  #write(end: End, states: readonly Work["state"][]): boolean {
    const { invocation_id: id, record, logs, answer, left } = end;
    const { work: queue, invocations, attempts, deliveries } = this.#tables;
    const work = queue.get(id);
    if (work === undefined || work.attempts !== end.attempt || !states.includes(work.state)) return false;
    if (record === "forgotten") attempts.remove(id, end.attempt);
    else if (record !== "unchanged") attempts.save(id, record, logs);
    if (left === null) queue.remove(id);
    else queue.put({ ...work, ...left, state: "waiting", lease_until: null });
    invocations.put(end.invocation, answer === null ? undefined : logs);
    for (const delivery of end.deliveries) deliveries.insert(delivery);
    this.#keepPayload(end);
    for (const submission of end.submissions) this.#follow(submission);
    return true;
  }

  /** Part of a transaction: keeps an answer if the budget has room for it, and notes when nothing needs it any more. */
  #keepPayload({ invocation_id: id, invocation, answer, left, deliveries }: End): void {
    const { payloads } = this.#tables;
    if (answer !== null && payloads.makeRoom(sizeOf(answer))) payloads.answer(id, answer);
    // The request of one that failed stays, for a replay.
    else if (answer !== null && invocation.status === "succeeded") payloads.remove(id);
    if (left !== null) return;
    // A callback needs the answer, if there is one.
    if (deliveries.length === 0 || (answer?.response ?? null) === null) payloads.settle(id, this.#clock.now());
    payloads.trim();
  }

  /** Part of a transaction: queues an invocation that follows from another; without room for its request it is dead at once. */
  #follow(submission: NewInvocation): void {
    if (this.#tables.payloads.makeRoom(this.#bytesOf(submission))) return void this.#insert(submission);
    this.#tables.invocations.put(withoutRoom(submission, this.#clock.now()));
  }

  /** Part of a transaction: returns whether nobody has replayed that invocation yet, and its request is still kept. */
  #canReplay({ invocation: { replay_of } }: NewInvocation): boolean {
    const { invocations, payloads } = this.#tables;
    return replay_of !== null && !invocations.isReplayed(replay_of) && payloads.has(replay_of);
  }

  #bytesOf({ request }: NewInvocation): number {
    return "request" in request ? sizeOf(request) : this.#tables.payloads.bytesOf(request.copy_of);
  }

  /** Part of a transaction: queues an invocation if there is room. */
  #queue(submission: NewInvocation): Invocation {
    this.#tables.payloads.requireRoom(this.#bytesOf(submission));
    if (this.#isFull()) throw queueFull();
    return this.#insert(submission);
  }

  #insert(submission: NewInvocation): Invocation {
    const { invocation, request } = submission;
    const { id } = invocation;
    this.#tables.invocations.put(invocation);
    if ("request" in request) {
      this.#tables.payloads.put({ invocation_id: id, ...request, response: null, response_meta: null });
    } else if (!this.#tables.payloads.copyRequest(id, request.copy_of)) {
      throw new Error(`The request of invocation ${request.copy_of} is not kept`);
    }
    this.#tables.work.insert(newWork(submission));
    return invocation;
  }

  /** Returns whether the queue is full. Counting 100,000 takes 3 ms, so it is done once a second, or less often. */
  #isFull(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#counted.at >= Math.max(1_000, this.#counted.queued / 100))
      this.#counted = { at: now, queued: this.#tables.work.count() };
    return this.#counted.queued++ >= QUEUED;
  }
}

/** The work of a function that may be taken, and how much of it has been. */
interface Line {
  readonly most: number;
  taken: number;
  next: Work | undefined;
}

/** Returns the function that has the next turn: by its priority, or because it has had the fewest; the first one among equals. */
function nextLine(lines: readonly Line[], byPriority: boolean): Line | undefined {
  let best: Line | undefined;
  for (const line of lines) {
    if (line.next === undefined || line.taken === line.most) continue;
    const more = byPriority && best?.next !== undefined ? line.next.priority - best.next.priority : 0;
    if (best === undefined || more > 0 || (more === 0 && line.taken < best.taken)) best = line;
  }
  return best;
}
