import type { Function } from "../../domain/functions/functions.ts";
import { type CronAnnotation, scheduleOf } from "../../domain/openfaas/deployment.ts";
import { notesIn } from "../../domain/openfaas/labels.ts";
import type { Schedule } from "../../domain/schedules.ts";
import type { Store } from "../../store/store.ts";
import type { ScheduleService } from "./schedules.ts";

/** A function before and after a change; one that has not changed is both. */
export interface AnnotatedChange {
  readonly before?: Pick<Function, "labels"> | undefined;
  readonly after: Pick<Function, "id" | "labels">;
}

interface AnnotatedSchedulesDeps {
  readonly store: Pick<Store, "schedules">;
  readonly schedules: Pick<ScheduleService, "check" | "create" | "update" | "delete">;
}

/**
 * The schedules that functions have by the annotations of their OpenFaaS deployments, which are among their labels. The schedule of an
 * annotation is the one with just that timetable: one that was changed by hand is left alone.
 */
export class AnnotatedSchedules {
  readonly #deps: AnnotatedSchedulesDeps;

  constructor(deps: AnnotatedSchedulesDeps) {
    this.#deps = deps;
  }

  /** Throws `invalid_request` for annotations that ask for what no schedule can be. */
  check(labels: Function["labels"] = {}): void {
    const asked = scheduleOf(notesIn(labels).notes.annotations);
    if (asked !== undefined) this.#deps.schedules.check(asked);
  }

  /** Makes, changes or deletes the schedule of a function as its annotations say now. */
  async follow({ before, after }: AnnotatedChange): Promise<void> {
    const [earlier, asked] = [before && askedBy(before), askedBy(after)];
    if (earlier === undefined && asked === undefined) return;
    const { schedules } = this.#deps;
    const present = this.#deps.store.schedules.list().filter(({ function_id }) => function_id === after.id);
    const isUnchanged = earlier?.cron === asked?.cron && earlier?.timezone === asked?.timezone;
    if (isUnchanged && present.length > 0) return;
    const made = earlier && present.find((one) => isOf(one, earlier));
    if (asked === undefined) {
      if (made !== undefined) await schedules.delete(made.id);
    } else if (made !== undefined) await schedules.update(made.id, asked);
    else if (!present.some((one) => isOf(one, asked))) await schedules.create({ function_id: after.id, ...asked });
  }
}

function isOf({ cron, timezone }: Schedule, asked: CronAnnotation): boolean {
  return cron === asked.cron && timezone === asked.timezone;
}

/** Returns the schedule that labels ask for; those that were changed with `/v1` may ask for none that there is. */
function askedBy({ labels }: Pick<Function, "labels">): CronAnnotation | undefined {
  try {
    return scheduleOf(notesIn(labels).notes.annotations);
  } catch {
    return undefined;
  }
}
