import type { Clock } from "../../clock.ts";
import { Alarm, mapInSlices, Slices } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { SCHEDULES } from "../../domain/limits.ts";
import { notFound } from "../../domain/quoted.ts";
import {
  checkSchedule,
  type CreateSchedule,
  doneBy,
  dueBy,
  nextRun,
  nextTimes,
  type Schedule,
  SCHEDULE_DEFAULTS,
  type ScheduleWithTimes,
  type UpdateSchedule,
} from "../../domain/schedules.ts";
import { ClockWatch, isAhead } from "../../domain/time/set-back.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import { retryStale } from "../../store/errors.ts";
import type { Store } from "../../store/store.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { Tracing } from "../tracing/tracing.ts";
import { newInvocation } from "./submissions.ts";
import type { Worker } from "./worker.ts";

/** The longest sleep, in milliseconds: the time of day may be set, and timers do not notice. */
const LONGEST_SLEEP_MS = 10_000;
/** The wait before a schedule that could not be queued is tried again, in milliseconds. */
const RETRY_MS = 1_000;

interface ScheduleDeps {
  readonly store: Pick<Store, "schedules" | "ledger">;
  readonly functions: FunctionService;
  readonly worker: Pick<Worker, "queued">;
  readonly tracing: Pick<Tracing, "begin">;
  readonly clock: Clock;
  readonly log: Logger;
  /** The shortest time between two runs of a schedule, in milliseconds. */
  readonly min_interval_ms: number;
}

/** Manages schedules, and queues their runs when they are due. */
export class ScheduleService implements Disposable {
  readonly #deps: ScheduleDeps;
  /** The time at which each schedule is due next; those that are paused, or never due again, are not in here. */
  readonly #next = new Map<string, number>();
  readonly #alarm: Alarm;
  readonly #watch = new ClockWatch();
  #started = false;

  constructor(deps: ScheduleDeps) {
    this.#deps = deps;
    this.#alarm = new Alarm(deps.clock, () => void this.#look());
    deps.store.schedules.follow((ids) => {
      for (const id of ids) this.#next.delete(id);
      void this.#planThose(ids);
    });
  }

  /** Lists them in slices: the next times of one take up to a millisecond, and there may be thousands. */
  list(): Promise<ScheduleWithTimes[]> {
    return mapInSlices(this.#deps.store.schedules.list(), (schedule) => this.#shown(schedule));
  }

  /** Finds a schedule by its id; throws `not_found`. */
  get(id: string): ScheduleWithTimes {
    return this.#shown(this.#deps.store.schedules.get(id) ?? missing(id));
  }

  /** Throws `invalid_request` for a timetable that no schedule can have. */
  check(when: Pick<Schedule, "cron" | "timezone">): void {
    checkSchedule(when, this.#deps.clock.now(), this.#deps.min_interval_ms);
  }

  async create(body: CreateSchedule): Promise<ScheduleWithTimes> {
    if (this.#deps.store.schedules.count() >= SCHEDULES)
      throw new AppError("conflict", `There are ${SCHEDULES} schedules already: delete some`);
    const now = this.#deps.clock.now();
    const { id: function_id } = this.#deps.functions.get(body.function_id);
    const at = timestamp(now);
    const created: Schedule = {
      id: this.#deps.clock.uuid(),
      ...SCHEDULE_DEFAULTS,
      ...body,
      function_id,
      last_due: now,
      last_invocation_id: null,
      created_at: at,
      updated_at: at,
    };
    checkSchedule(created, now, this.#deps.min_interval_ms);
    await this.#deps.store.schedules.insert(created);
    this.#plan(created);
    return this.#shown(created);
  }

  async update(id: string, body: UpdateSchedule): Promise<ScheduleWithTimes> {
    const now = this.#deps.clock.now();
    const function_id =
      body.function_id === undefined ? {} : { function_id: this.#deps.functions.get(body.function_id).id };
    const after = await retryStale(async () => {
      const current = this.#deps.store.schedules.get(id) ?? missing(id);
      const changed: Schedule = { ...current, ...body, ...function_id, updated_at: timestamp(now) };
      // One that is older than the floor may be paused, and have another body.
      const isSame = changed.cron === current.cron && changed.timezone === current.timezone;
      checkSchedule(changed, now, isSame ? 0 : this.#deps.min_interval_ms);
      // Another timetable begins now, and runs that a pause left out are not made up for.
      const renewed = !isSame || current.paused;
      const next = renewed ? { ...changed, last_due: Math.max(doneBy(current, now), now) } : changed;
      await this.#deps.store.schedules.replace(current, next);
      return next;
    });
    this.#plan(after);
    return this.#shown(after);
  }

  /** Deletes a schedule and returns it; the invocations that it has queued stay. */
  async delete(id: string): Promise<ScheduleWithTimes> {
    const deleted = (await this.#deps.store.schedules.delete(id)) ?? missing(id);
    this.#next.delete(id);
    return this.#shown(deleted);
  }

  /** Begins to watch the clock; runs that were missed meanwhile are judged first. */
  start(): void {
    this.#started = true;
    // Schedules that an earlier server has marked are looked at now.
    this.#watch.wasSetBack(this.#deps.clock.now());
    void this.#planAll();
  }

  [Symbol.dispose](): void {
    this.#started = false;
    this.#alarm[Symbol.dispose]();
  }

  #planAll(): Promise<void> {
    return this.#planThose(this.#deps.store.schedules.list().map(({ id }) => id));
  }

  /** Plans what is stored of these, in slices. What was created or changed meanwhile is planned already. */
  async #planThose(ids: readonly string[]): Promise<void> {
    await mapInSlices(ids, (id) => {
      const schedule = this.#next.has(id) || !this.#started ? undefined : this.#deps.store.schedules.get(id);
      if (schedule !== undefined) this.#note(schedule);
    });
    if (this.#started) this.#sleep();
  }

  #plan(schedule: Schedule): void {
    this.#note(schedule);
    if (this.#started) this.#sleep();
  }

  #note(schedule: Schedule): void {
    const next = schedule.paused ? undefined : this.#nextOf(schedule);
    if (next === undefined) this.#next.delete(schedule.id);
    else this.#next.set(schedule.id, next);
  }

  /** Returns when a schedule is to be looked at next: at once if its mark is to be taken back. */
  #nextOf(schedule: Schedule): number | undefined {
    const now = this.#deps.clock.now();
    return isAhead(schedule.last_due, now) ? now : nextRun(schedule, this.#deps.min_interval_ms);
  }

  /** Sleeps until the next one is due. */
  #sleep(): void {
    let soonest = Infinity;
    for (const next of this.#next.values()) soonest = Math.min(soonest, next);
    const ms = Math.min(LONGEST_SLEEP_MS, Math.max(0, soonest - this.#deps.clock.now()));
    this.#alarm.set(ms);
  }

  async #look(): Promise<void> {
    const now = this.#deps.clock.now();
    if (this.#watch.wasSetBack(now)) {
      this.#next.clear();
      await this.#planAll();
    }
    const due = [...this.#next].filter(([, next]) => next <= now);
    // Each waits for its commit; those that have nothing to write must not take the loop either.
    const slices = new Slices();
    for (const [id] of due) {
      if (!this.#started) return;
      await this.#runOrRetry(id);
      if (slices.over) await slices.next();
    }
    if (this.#started) this.#sleep();
  }

  async #runOrRetry(id: string): Promise<void> {
    try {
      const after = await this.#run(id);
      if (after === undefined) this.#next.delete(id);
      else this.#note(after);
    } catch (error) {
      this.#deps.log.error("a schedule could not be run, will try again", {
        schedule_id: id,
        problem: messageOf(error),
      });
      this.#next.set(id, this.#deps.clock.now() + RETRY_MS);
    }
  }

  /** Queues the runs that are due, each time once: the invocations and the note that they are done are one transaction. */
  async #run(id: string): Promise<Schedule | undefined> {
    const { store, worker, clock, log } = this.#deps;
    const dueOf = new Map<string, number>();
    const done = await retryStale(async () => {
      const before = store.schedules.get(id);
      if (before === undefined) return undefined;
      // Of this moment: those before it may have waited long for the database, while other servers have gone on.
      const { runs: times, last_due } = dueBy(before, clock.now(), this.#deps.min_interval_ms);
      // Another server has queued them.
      if (times.length === 0 && last_due === before.last_due) return { schedule: before, queued: [], left_out: [] };
      const runs = (before.paused ? [] : times).map((due) => {
        const run = this.#newRun(before);
        dueOf.set(run.invocation.id, due);
        return run;
      });
      return store.ledger.submitScheduled({ before, last_due, runs });
    });
    for (const { invocation } of done?.left_out ?? []) {
      const due = dueOf.get(invocation.id);
      log.info("a scheduled run is left out, the last one has not ended", { schedule_id: id, due });
    }
    for (const invocation of done?.queued ?? []) worker.queued(invocation);
    return done?.schedule;
  }

  #newRun({ id, function_id, body }: Schedule) {
    const { functions, clock, tracing } = this.#deps;
    const run_id = clock.invocationId();
    const submission = {
      id: run_id,
      target: { function: functions.get(function_id), route_id: null, key_id: null },
      body: Buffer.from(JSON.stringify(body ?? null)),
      request_meta: null,
      origin: { schedule_id: id, ...tracing.begin(run_id, {}) },
    };
    return newInvocation(submission, clock.now());
  }

  #shown(schedule: Schedule): ScheduleWithTimes {
    const { last_due: _, ...shown } = schedule;
    const now = this.#deps.clock.now();
    const after = Math.max(now, doneBy(schedule, now));
    return { ...shown, next: nextTimes(schedule, after).map(timestamp) };
  }
}

function missing(id: string): never {
  throw notFound("schedule", id);
}
