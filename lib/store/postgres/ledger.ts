import type { Clock } from "../../clock.ts";
import type { Delivery } from "../../domain/calls/callbacks.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { LONGEST_LEASE_MS } from "../../domain/limits.ts";
import { furthest } from "../../domain/time/set-back.ts";
import { timestamp } from "../../domain/types.ts";
import {
  beforeClaim,
  claimedWork,
  dueAgain,
  inOrder,
  replaySlices,
  type SizedReplay,
  sizeOf,
  UNATTENDED,
} from "../ledger-rules.ts";
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
import type { ReadyWork, Work } from "../records.ts";
import type { Client, Statements } from "./client/client.ts";
import type { SharedConfiguration } from "./configuration/shared-configuration.ts";
import { IdempotencyRecords } from "./idempotency.ts";
import type { PostgresStats } from "./stats.ts";
import { SubmissionWriter, type SubmissionTables } from "./submission-writer.ts";
import { attempts } from "./tables/attempts.ts";
import type { DeliveryTable } from "./tables/deliveries.ts";
import { idempotencyKeys } from "./tables/idempotency-keys.ts";
import { invocationOf } from "./tables/invocations.ts";
import { attemptKey } from "./tables/work.ts";

/** The parts of the database that the ledger writes. */
export interface LedgerParts extends SubmissionTables {
  readonly client: Client;
  readonly clock: Clock;
  readonly holder: string;
  readonly deliveries: DeliveryTable;
  readonly stats: PostgresStats;
  readonly configuration: SharedConfiguration;
  /** Returns false if another server has taken the place of this one. */
  readonly isPresent: () => boolean;
  /** Takes what the database's clock has just shown. Returns false if `clock` was behind it. */
  readonly isTime: (now: number) => boolean;
  /** Returns false if leases of others may have ended only because the database was away. */
  readonly mayTakeOver: () => boolean;
  /** Replaces a schedule in the mirror. */
  readonly replaceSchedule: (before: ScheduledRuns["before"], after: ScheduledRuns["before"]) => void;
}

/** The ledger in PostgreSQL, which several servers share. Every command is on the disk when it settles. */
export class PostgresLedger implements Ledger {
  readonly isShared = true;
  readonly #parts: LedgerParts;
  readonly #client: Client;
  readonly #submissions: SubmissionWriter;
  readonly #idempotency: IdempotencyRecords;
  /** The attempts that were begun here, and whose ends are not written: the id of each invocation, and the number. */
  readonly #attempted = new Set<string>();
  /** Those of them whose ends may be written, as a commit was not answered. */
  readonly #unanswered = new Set<string>();

  constructor(parts: LedgerParts) {
    this.#parts = parts;
    this.#client = parts.client;
    this.#submissions = new SubmissionWriter(parts.client, parts, parts.clock, parts.holder);
    this.#idempotency = new IdempotencyRecords(parts.invocations, parts.payloads);
  }

  async submit(submission: NewInvocation, key?: IdempotencyKey): Promise<Submitted> {
    if (key === undefined) return { invocation: await this.#submissions.queue(submission), repeated: false };
    return this.#client.transaction(async (transaction) => {
      const first = await this.#idempotency.first(transaction, submission.invocation, key);
      if (first !== undefined) return { invocation: first.invocation, repeated: true };
      return { invocation: await this.#submissions.queue(submission, transaction), repeated: false };
    });
  }

  submitScheduled({ before, last_due, runs }: ScheduledRuns): Promise<ScheduledSubmission> {
    return this.#parts.configuration.together(async (transaction, change) => {
      const queued: Invocation[] = [];
      const left_out: NewInvocation[] = [];
      let { last_invocation_id } = before;
      for (const run of runs) {
        const busy =
          last_invocation_id !== null && (await this.#parts.work.get(transaction, last_invocation_id)) !== undefined;
        if (busy && before.overlap === "skip") {
          left_out.push(run);
          continue;
        }
        queued.push(await this.#submissions.queue(run, transaction));
        last_invocation_id = run.invocation.id;
      }
      const schedule = { ...before, last_due, last_invocation_id };
      await change(() => this.#parts.replaceSchedule(before, schedule));
      return { schedule, queued, left_out };
    });
  }

  async replayMany(replays: readonly NewInvocation[]): Promise<Invocation[]> {
    const sized: SizedReplay[] = [];
    for (const replay of replays) {
      if (!(await this.#canReplay(this.#client, replay))) continue;
      sized.push({ replay, bytes: await this.#submissions.bytesOf(this.#client, replay) });
    }
    let room = sized.reduce((sum, { bytes }) => sum + bytes, 0);
    const queued: Invocation[] = [];
    for (const slice of replaySlices(sized)) {
      const needed = room;
      try {
        queued.push(
          ...(await this.#client.transaction((transaction) => this.#replay(transaction, slice.replays, needed))),
        );
      } catch (error) {
        // The caller has to learn of those that are queued already.
        if (queued.length === 0) throw error;
        break;
      }
      room -= slice.bytes;
    }
    return queued;
  }

  async claim(turns: Turns, { now, until }: { now: number; until: number }): Promise<Claim> {
    const { work: queue, invocations, isPresent } = this.#parts;
    if (!isPresent()) return { claimed: [], left: [] };
    const claim = await this.#client.transaction(async (transaction): Promise<Claim> => {
      const { taken, left } = await queue.take(transaction, turns, until);
      const claimed = taken.map(({ record, undelivered, finished_at, ...work }) =>
        claimedWork(work, invocationOf({ record, undelivered, finished_at }), now),
      );
      if (claimed.length > 0)
        await Promise.all([
          invocations.save(transaction, claimed),
          attempts.begin(
            transaction,
            claimed.map(({ work: { invocation_id }, attempt }) => ({ invocation_id, attempt })),
          ),
        ]);
      return { claimed: inOrder(claimed), left };
    });
    for (const { work } of claim.claimed) this.#attempted.add(attemptKey(work.invocation_id, work.attempts));
    return claim;
  }

  async giveBack(claimed: readonly Claimed[]): Promise<void> {
    const { work: queue, invocations } = this.#parts;
    const given = claimed.map(({ work }) => ({ invocation_id: work.invocation_id, attempt: work.attempts }));
    await this.#client.transaction(async (transaction) => {
      const back = await queue.giveBack(transaction, given);
      const keys = new Set(back.map(({ invocation_id, attempt }) => attemptKey(invocation_id, attempt)));
      const records = claimed
        .filter(({ work }) => keys.has(attemptKey(work.invocation_id, work.attempts)))
        .map((one) => ({ invocation: beforeClaim(one) }));
      if (back.length > 0)
        await Promise.all([attempts.forget(transaction, back), invocations.save(transaction, records)]);
    });
    for (const { invocation_id, attempt } of given) this.#attempted.delete(attemptKey(invocation_id, attempt));
  }

  /** Returns false, too, if this server's clock was behind the database's: the lease may end too soon. */
  async hold({ invocation_id, attempt }: AttemptId, until: number): Promise<boolean> {
    const now = await this.#parts.work.hold(this.#client, invocation_id, attempt, until);
    return now !== undefined && this.#parts.isTime(now);
  }

  renew(until: number): Promise<void> {
    return this.#parts.work.renew(this.#client, until, this.#attempted);
  }

  async end(end: End): Promise<boolean> {
    const key = attemptKey(end.invocation_id, end.attempt);
    try {
      let written = await this.#client.transaction((transaction) => this.#write(transaction, end, ["leased"]));
      if (!written && this.#unanswered.has(key)) written = await this.#hasEnded(end);
      this.#unanswered.delete(key);
      this.#attempted.delete(key);
      return written;
    } catch (error) {
      this.#unanswered.add(key);
      throw error;
    }
  }

  loseMine(): Promise<number> {
    this.#attempted.clear();
    return this.#parts.work.loseLeases(this.#client);
  }

  async lost(until: number): Promise<PendingWork[]> {
    const { work, clock, mayTakeOver } = this.#parts;
    const ended = { now: Math.min(until, clock.now()), attempted: this.#attempted, ofOthers: mayTakeOver() };
    await work.loseEnded(this.#client, ended);
    const found: PendingWork[] = [];
    for (const { cancelled, ...one } of await work.lost(this.#client, until)) {
      const pending = await this.#pending(one);
      if (pending !== undefined) found.push(cancelled === 1 ? { ...pending, cancel_asked: true } : pending);
    }
    return found;
  }

  async release(ends: readonly End[]): Promise<End[]> {
    return this.#client.transaction(async (transaction) => {
      const written: End[] = [];
      for (const end of ends) if (await this.#write(transaction, end, ["lost"])) written.push(end);
      return written;
    });
  }

  wake(now: number): Promise<ReadyWork[]> {
    return this.#parts.work.wake(this.#client, now);
  }

  nextDue(): Promise<number | null> {
    return this.#parts.work.soonest(this.#client);
  }

  ready(): Promise<ReadyWork[]> {
    return this.#parts.work.ready(this.#client);
  }

  count(): Promise<number> {
    return this.#parts.work.count(this.#client);
  }

  keptBytes(): Promise<number> {
    return this.#parts.payloads.keptBytes(this.#client);
  }

  async find(invocationId: string): Promise<PendingWork | undefined> {
    const work = await this.#parts.work.get(this.#client, invocationId);
    return work && this.#pending(work);
  }

  askToCancel(invocationId: string): Promise<boolean> {
    return this.#parts.work.askToCancel(this.#client, invocationId);
  }

  async toEnd(given: readonly AttemptId[]): Promise<AttemptsToEnd> {
    const ended = await this.#parts.work.toEnd(this.#client, given);
    const idsOf = (isLost: number) => ended.flatMap((one) => (one.lost === isLost ? [one.invocation_id] : []));
    return { cancelled: idsOf(0), lost: idsOf(1) };
  }

  cancelUnattended(end: End): Promise<boolean> {
    return this.#client.transaction((transaction) => this.#write(transaction, end, UNATTENDED));
  }

  keepKey(invocation: Invocation, key: IdempotencyKey): Promise<StoredAnswer | undefined> {
    return this.#client.transaction((transaction) => this.#idempotency.first(transaction, invocation, key));
  }

  keepAnswer(answer: StoredAnswer): Promise<void> {
    return this.#client.transaction((transaction) => this.#idempotency.answer(transaction, answer));
  }

  dropKey(invocation: Invocation, key: IdempotencyKey): Promise<void> {
    return this.#idempotency.forget(this.#client, invocation, key);
  }

  forgetKeys(before: number): Promise<number> {
    return idempotencyKeys.prune(this.#client, before);
  }

  takeBack(now: number): Promise<number> {
    const { work, invocations, deliveries, stats } = this.#parts;
    return this.#client.transaction(async (transaction) => {
      const waits = await work.takeBack(transaction, now, furthest(now));
      for (const { invocation_id, due } of waits) {
        const record = await invocations.get(transaction, invocation_id);
        if (record !== undefined) await invocations.put(transaction, { ...record, run_at: timestamp(due) });
      }
      const others = [
        await work.shortenLeases(transaction, now + LONGEST_LEASE_MS),
        await deliveries.takeBack(transaction, now),
        await idempotencyKeys.takeBack(transaction, now),
        await invocations.takeBack(transaction, now, furthest(now)),
        await stats.takeBack(transaction, now, furthest(now)),
      ];
      return others.reduce((sum, count) => sum + count, waits.length);
    });
  }

  receivers(): Promise<WaitingReceiver[]> {
    return this.#parts.deliveries.receivers(this.#client);
  }

  dueDeliveries(receiver: string, { now, limit }: { now: number; limit: number }): Promise<Delivery[]> {
    return this.#parts.deliveries.due(this.#client, receiver, now, limit);
  }

  async saveDelivery(delivery: Delivery): Promise<void> {
    const { deliveries, payloads, clock } = this.#parts;
    await this.#client.transaction(async (transaction) => {
      await deliveries.put(transaction, delivery);
      if (delivery.state !== "waiting") await payloads.settle(transaction, delivery.invocation_id, clock.now());
    });
  }

  resend(invocationId: string, now: number): Promise<Delivery | undefined> {
    const { deliveries, payloads } = this.#parts;
    return this.#client.transaction(async (transaction) => {
      const before = await deliveries.get(transaction, invocationId, true);
      if (before === undefined) return undefined;
      const after = dueAgain(before, now);
      await deliveries.put(transaction, after);
      await payloads.settle(transaction, invocationId, null);
      return after;
    });
  }

  async #pending(work: Work): Promise<PendingWork | undefined> {
    const { invocation_id } = work;
    const [invocation, attempt] = await Promise.all([
      this.#parts.invocations.get(this.#client, invocation_id),
      attempts.get(this.#client, invocation_id, work.attempts),
    ]);
    return invocation && { work, invocation, attempt: attempt ?? null };
  }

  /** Returns whether an attempt has an end that its own server has written; one that others have ended is lost. */
  async #hasEnded({ invocation_id, attempt }: AttemptId): Promise<boolean> {
    const found = await attempts.get(this.#client, invocation_id, attempt);
    return found !== undefined && found.status !== "running" && found.status !== "lost";
  }

  /** Part of a transaction: writes an end if the work is in one of these states, and at that attempt. */
  async #write(statements: Statements, end: End, states: readonly Work["state"][]): Promise<boolean> {
    const { invocation_id: id, record, logs, answer, left } = end;
    const { work: queue, invocations, deliveries } = this.#parts;
    const work = await queue.forEnd(statements, end, states);
    if (work === undefined) return false;
    if (record === "forgotten") await attempts.forget(statements, [{ invocation_id: id, attempt: end.attempt }]);
    else if (record !== "unchanged") await attempts.save(statements, id, record, logs);
    if (left === null) await queue.remove(statements, id);
    else await queue.put(statements, { ...work, ...left, state: "waiting", lease_until: null });
    await invocations.put(statements, end.invocation, answer === null ? undefined : logs);
    for (const delivery of end.deliveries) await deliveries.insert(statements, delivery);
    await this.#keepPayload(statements, end);
    for (const submission of end.submissions) await this.#submissions.follow(statements, submission);
    return true;
  }

  /** Part of a transaction: keeps an answer if the budget has room for it, and notes when nothing needs it any more. */
  async #keepPayload(
    statements: Statements,
    { invocation_id: id, invocation, answer, left, deliveries }: End,
  ): Promise<void> {
    const { payloads, clock } = this.#parts;
    if (answer !== null && (await payloads.makeRoom(statements, sizeOf(answer)))) {
      await payloads.answer(statements, id, answer);
      // The request of one that failed stays, for a replay.
    } else if (answer !== null && invocation.status === "succeeded") await payloads.remove(statements, id);
    if (left !== null) return;
    // A callback needs the answer, if there is one.
    if (deliveries.length === 0 || (answer?.response ?? null) === null) {
      await payloads.settle(statements, id, clock.now());
    }
    await payloads.trim(statements);
  }

  /** Part of a transaction: queues those replays that nobody else has queued meanwhile, if there is room for `needed` bytes. */
  async #replay(statements: Statements, replays: readonly NewInvocation[], needed: number): Promise<Invocation[]> {
    await this.#parts.payloads.requireRoom(statements, needed);
    const queued: Invocation[] = [];
    for (const replay of replays) {
      // Two servers that replay the same one come one after another.
      await statements.run("select 1 from invocations where id = $id for update", { id: replay.invocation.replay_of });
      if (await this.#canReplay(statements, replay)) queued.push(await this.#submissions.queue(replay, statements));
    }
    return queued;
  }

  /** Returns whether nobody has replayed that invocation yet, and its request is still kept. */
  async #canReplay(statements: Statements, { invocation: { replay_of } }: NewInvocation): Promise<boolean> {
    const { invocations, payloads } = this.#parts;
    if (replay_of === null || (await invocations.isReplayed(statements, replay_of))) return false;
    return payloads.has(statements, replay_of);
  }
}
