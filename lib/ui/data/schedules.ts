import type { Schedule } from "../../domain/schedules.ts";

/** A schedule as the API shows it: with its next five times. */
export type ScheduleWithTimes = Omit<Schedule, "last_due"> & { readonly next: readonly string[] };
