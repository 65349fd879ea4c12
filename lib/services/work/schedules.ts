import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { SCHEDULES } from "../../domain/limits.ts";
import {
  checkSchedule,
  type CreateSchedule,
  dueBy,
  nextAfter,
  nextTimes,
  type Schedule,
  SCHEDULE_DEFAULTS,
  type ScheduleWithTimes,
  type UpdateSchedule,
} from "../../domain/schedules.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Store } from "../../store/sqlite/store.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { Queue } from "./queue.ts";

/** The longest sleep, in milliseconds: the time of day may be set, and timers do not notice. */
const LONGEST_SLEEP_MS = 10_000;
/** Before what could not be queued is tried again, in milliseconds. */
const RETRY_MS = 1_000;

/** What can be done with schedules; and who looks at the clock for them. */
export class ScheduleService implements Disposable {
  readonly #store: Pick<Store, "schedules" | "work">;
  readonly #functions: FunctionService;
  readonly #queue: Queue;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** When each is due next; those that are paused, or never due again, are not in here. */
  readonly #next = new Map<string, number>();
  #cancelTimer: () => void = () => undefined;
  #started = false;

  constructor(options: {
    store: Pick<Store, "schedules" | "work">;
    functions: FunctionService;
    queue: Queue;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#functions = options.functions;
    this.#queue = options.queue;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  list(): ScheduleWithTimes[] {
    return this.#store.schedules.list().map((schedule) => this.#shown(schedule));
  }

  /** Finds a schedule by its id; throws `not_found`. */
  get(id: string): ScheduleWithTimes {
    return this.#shown(this.#store.schedules.get(id) ?? unknown(id));
  }

  async create(body: CreateSchedule): Promise<ScheduleWithTimes> {
    if (this.#store.schedules.count() >= SCHEDULES)
      throw new AppError("conflict", `There are ${SCHEDULES} schedules already: delete some`);
    const now = this.#clock.now();
    const { id: function_id } = this.#functions.get(body.function_id);
    const at = timestamp(now);
    const created: Schedule = {
      id: this.#clock.uuid(),
      ...{ ...SCHEDULE_DEFAULTS, ...body, function_id },
      ...{ last_due: now, last_invocation_id: null, created_at: at, updated_at: at },
    };
    checkSchedule(created, now);
    await this.#store.schedules.insert(created);
    this.#plan(created);
    return this.#shown(created);
  }

  async update(id: string, body: UpdateSchedule): Promise<ScheduleWithTimes> {
    const now = this.#clock.now();
    const function_id = body.function_id === undefined ? {} : { function_id: this.#functions.get(body.function_id).id };
    const changed = await this.#store.schedules.update(id, (current) => {
      const after: Schedule = { ...current, ...body, ...function_id, updated_at: timestamp(now) };
      checkSchedule(after, now);
      // Another time table begins now, and nothing of a pause is made up for.
      const renewed = after.cron !== current.cron || after.timezone !== current.timezone || current.paused;
      return renewed ? { ...after, last_due: Math.max(current.last_due, now) } : after;
    });
    const after = changed ?? unknown(id);
    this.#plan(after);
    return this.#shown(after);
  }

  /** Deletes a schedule and tells what it was; what it has queued stays. */
  async delete(id: string): Promise<ScheduleWithTimes> {
    const deleted = (await this.#store.schedules.delete(id)) ?? unknown(id);
    this.#next.delete(id);
    return this.#shown(deleted);
  }

  /** Begins to look at the clock; what was missed meanwhile is judged first. */
  start(): void {
    this.#started = true;
    for (const schedule of this.#store.schedules.list()) this.#plan(schedule);
    this.#sleep();
  }

  [Symbol.dispose](): void {
    this.#started = false;
    this.#cancelTimer();
  }

  #plan(schedule: Schedule): void {
    const next = schedule.paused ? undefined : nextAfter(schedule, schedule.last_due);
    if (next === undefined) this.#next.delete(schedule.id);
    else this.#next.set(schedule.id, next);
    if (this.#started) this.#sleep();
  }

  /** Sleeps until the next one is due. */
  #sleep(): void {
    this.#cancelTimer();
    const soonest = Math.min(...this.#next.values());
    const ms = Math.min(LONGEST_SLEEP_MS, Math.max(0, soonest - this.#clock.now()));
    this.#cancelTimer = this.#clock.after(ms, () => void this.#look());
  }

  async #look(): Promise<void> {
    const now = this.#clock.now();
    const due = [...this.#next].filter(([, next]) => next <= now);
    for (const [id] of due) await this.#runOrRetry(id, now);
    if (this.#started) this.#sleep();
  }

  async #runOrRetry(id: string, now: number): Promise<void> {
    try {
      const after = await this.#run(id, now);
      if (after === undefined) this.#next.delete(id);
      else this.#plan(after);
    } catch (error) {
      this.#log.error("a schedule could not be run, will try again", { schedule_id: id, problem: messageOf(error) });
      this.#next.set(id, now + RETRY_MS);
    }
  }

  /** Queues what is due, each time once: the invocation and the note that its time is done are one transaction. */
  async #run(id: string, now: number): Promise<Schedule | undefined> {
    const queued: Invocation[] = [];
    const after = await this.#store.schedules.update(id, (current) => {
      const { runs, last_due } = dueBy(current, now);
      const target = { function: this.#functions.get(current.function_id), route_id: null };
      let { last_invocation_id } = current;
      for (const due of current.paused ? [] : runs) {
        const busy = last_invocation_id !== null && this.#store.work.get(last_invocation_id) !== undefined;
        if (busy && current.overlap === "skip") {
          this.#log.info("a scheduled run is left out, the last one has not ended", { schedule_id: id, due });
          continue;
        }
        const { invocation } = this.#queue.enqueue({
          id: this.#clock.uuid(),
          target,
          body: Buffer.from(JSON.stringify(current.body ?? null)),
          request_meta: null,
          origin: { schedule_id: id },
        });
        queued.push(invocation);
        last_invocation_id = invocation.id;
      }
      return { ...current, last_due, last_invocation_id };
    });
    for (const invocation of queued) this.#queue.announce(invocation);
    return after;
  }

  #shown(schedule: Schedule): ScheduleWithTimes {
    const { last_due: _, ...shown } = schedule;
    const after = Math.max(this.#clock.now(), schedule.last_due);
    return { ...shown, next: nextTimes(schedule, after).map(timestamp) };
  }
}

function unknown(id: string): never {
  throw new AppError("not_found", `No schedule ${JSON.stringify(id.slice(0, 100))}: GET /v1/schedules lists them`);
}
