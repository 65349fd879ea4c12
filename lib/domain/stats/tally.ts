import type { Invocation } from "../calls/invocations.ts";
import { Histogram } from "./histogram.ts";

/** The statuses that a call can end with. */
export const ENDS = ["succeeded", "failed", "timed_out", "cancelled", "dead"] as const;
export type EndStatus = (typeof ENDS)[number];

/** The times of calls that are counted. `duration_ms` is the sum of the waits and the run. */
export const TIMES = ["duration_ms", "queue_ms", "start_ms", "boot_ms", "run_ms"] as const;
export type Time = (typeof TIMES)[number];

/** The plain counters, besides those of the ends. */
export const COUNTERS = ["cold", "warm", "request_bytes", "response_bytes"] as const;

/** The fields of the record of a call that has ended, as far as it is counted by them. */
export type EndedCall = Pick<
  Invocation,
  "status" | "reason" | "start" | "queue_ms" | "start_ms" | "boot_ms" | "run_ms" | "request_bytes" | "response_bytes"
>;

/** The figures of many calls. Two tallies can be merged, and are then the tally of all of their calls. */
export class Tally {
  readonly ends: Record<EndStatus, number> = { succeeded: 0, failed: 0, timed_out: 0, cancelled: 0, dead: 0 };
  readonly counters: Record<(typeof COUNTERS)[number], number> = {
    cold: 0,
    warm: 0,
    request_bytes: 0,
    response_bytes: 0,
  };
  /** The calls with a reason, by it. */
  readonly reasons = new Map<string, number>();
  readonly times: Readonly<Record<Time, Histogram>> = {
    duration_ms: new Histogram(),
    queue_ms: new Histogram(),
    start_ms: new Histogram(),
    boot_ms: new Histogram(),
    run_ms: new Histogram(),
  };

  /** Counts a call. One that has not ended is not counted. */
  add(call: EndedCall): void {
    const end = ENDS.find((status) => status === call.status);
    if (end === undefined) return;
    this.ends[end] += 1;
    if (call.start !== null) this.counters[call.start] += 1;
    this.counters.request_bytes += call.request_bytes;
    this.counters.response_bytes += call.response_bytes ?? 0;
    if (call.reason !== null) this.addReason(call.reason, 1);
    const { queue_ms, start_ms, run_ms, boot_ms } = call;
    const isTimed = queue_ms !== null || start_ms !== null || run_ms !== null;
    const duration_ms = isTimed ? (queue_ms ?? 0) + (start_ms ?? 0) + (run_ms ?? 0) : null;
    const times = { duration_ms, queue_ms, start_ms, boot_ms, run_ms };
    for (const name of TIMES) {
      const time = times[name];
      if (time !== null) this.times[name].add(time);
    }
  }

  merge(other: Tally): void {
    for (const end of ENDS) this.ends[end] += other.ends[end];
    for (const name of COUNTERS) this.counters[name] += other.counters[name];
    for (const [reason, count] of other.reasons) this.addReason(reason, count);
    for (const name of TIMES) this.times[name].merge(other.times[name]);
  }

  addReason(reason: string, count: number): void {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + count);
  }
}
