import type { Invocation } from "../domain/calls/invocations.ts";
import { type EndedCall, Tally } from "../domain/stats/tally.ts";

/** Tallies by bucket, and in it by function; '' has all calls. */
export type Tallies = ReadonlyMap<number, ReadonlyMap<string, Tally>>;

/** A call that may have ended, as far as it is counted. */
export type CountedCall = EndedCall & Pick<Invocation, "function_id" | "finished_at">;

/** The bytes of a row of figures besides them: the function's id, the bucket, and the database's own. */
export const ROW_BYTES = 50;

/** Counts calls in buckets of `size` milliseconds. One that has not ended is counted when it does. */
export function talliesOf(calls: readonly CountedCall[], size: number): Tallies {
  const buckets = new Map<number, Map<string, Tally>>();
  for (const call of calls) {
    if (call.finished_at === null) continue;
    const bucket = Math.floor(Date.parse(call.finished_at) / size);
    const functions = buckets.get(bucket) ?? new Map<string, Tally>();
    buckets.set(bucket, functions);
    for (const id of ["", call.function_id]) {
      const tally = functions.get(id) ?? new Tally();
      functions.set(id, tally);
      tally.add(call);
    }
  }
  return buckets;
}
