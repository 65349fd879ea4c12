import { type Static, Type } from "@sinclair/typebox";
import { Nullable, timestamp, Timestamp } from "../types.ts";
import { ENDS, Tally, type Time } from "./tally.ts";

const PARTS = { p50: 0.5, p95: 0.95, p99: 0.99 } as const;

const count = (description: string, example: number) => Type.Integer({ description, examples: [example] });
const ratio = (description: string, example: number) =>
  Nullable(Type.Number({ description: `${description}, from 0 to 1; null without any.`, examples: [example] }));
const times = (description: string, [p50, p95, p99]: readonly [number, number, number]) =>
  Nullable(
    Type.Object(
      {
        p50: Type.Number({ description: "Half of them took no longer.", examples: [p50] }),
        p95: Type.Number({ description: "19 of 20 took no longer.", examples: [p95] }),
        p99: Type.Number({ description: "99 of 100 took no longer.", examples: [p99] }),
      },
      { description: `${description}, in milliseconds, within 2.5 %; null if no call had one.` },
    ),
  );

/** The figures of the calls that ended in a span of time. */
export const Figures = Type.Object({
  calls: count("Calls that ended in this time.", 12),
  succeeded: count("Those whose function gave an answer.", 10),
  failed: count("Those that failed.", 1),
  timed_out: count("Those whose function took too long.", 1),
  cancelled: count("Those whose caller went away, or cancelled them.", 0),
  dead: count("Asynchronous ones that failed for good.", 0),
  errors: count("`failed`, `timed_out` and `dead` together.", 2),
  error_ratio: ratio("Errors among the calls", 0.1667),
  calls_per_s: Type.Number({
    description: "Calls for each second of this time, as far as it has passed.",
    examples: [0.2],
  }),
  reasons: Type.Unsafe<Readonly<Record<string, number>>>(
    Type.Object(
      {},
      {
        additionalProperties: Type.Integer(),
        description: "Calls by their `reason`; only reasons that some call had, the most frequent first.",
        examples: [{ function_failed: 1, function_timeout: 1 }],
      },
    ),
  ),
  cold: count("Those for which an instance was started.", 2),
  warm: count("Those that found an instance ready. A call that never came to an instance is in neither.", 9),
  cold_ratio: ratio("Cold ones among the cold and the warm ones", 0.1818),
  request_bytes: count("Size of the request bodies.", 1200),
  response_bytes: count("Size of the answers' bodies.", 3400),
  duration_ms: times("`queue_ms`, `start_ms` and `run_ms` together", [6.19, 409.7, 420.2]),
  queue_ms: times("Wait for a place among the running instances", [0.1, 0.2, 0.2]),
  start_ms: times("Wait for an instance to be ready", [0.1, 402.1, 402.1]),
  boot_ms: times(
    "Time that a function took to listen; with the contract `http`, of an instance's first call",
    [850, 900, 900],
  ),
  run_ms: times("From handing over the request to the end of the answer", [6, 7.5, 8]),
});
export type Figures = Static<typeof Figures>;

/** The answer of `GET /v1/stats`. */
export const Stats = Type.Object({
  function_id: Nullable(Type.String({ description: "The function that was asked for; null for all calls." })),
  since: Timestamp,
  until: Timestamp,
  step_ms: Type.Integer({ description: "The length of a step, in milliseconds.", examples: [60_000] }),
  complete: Type.Boolean({
    description:
      "False if not all calls that have ended are counted yet: for a while after an upgrade, the newest first, or under very high load.",
    examples: [true],
  }),
  totals: Type.Composite([Figures], { description: "Of all steps together." }),
  points: Type.Array(
    Type.Composite([
      Type.Object({
        at: Type.String({ description: "When the step begins.", examples: ["2026-01-31T12:00:00.000Z"] }),
      }),
      Figures,
    ]),
    { description: "Every step from `since` to before `until`, oldest first; those without a call have zeros." },
  ),
});
export type Stats = Static<typeof Stats>;

/** Returns the figures of a tally, of so many milliseconds. */
export function figuresOf({ ends, counters, reasons, times: histograms }: Tally, ms: number): Figures {
  const calls = ENDS.reduce((sum, end) => sum + ends[end], 0);
  const errors = ends.failed + ends.timed_out + ends.dead;
  const { cold, warm, request_bytes, response_bytes } = counters;
  return {
    calls,
    ...ends,
    errors,
    error_ratio: ratioOf(errors, calls),
    calls_per_s: rounded(ms > 0 ? (calls * 1000) / ms : 0),
    reasons: Object.fromEntries([...reasons].toSorted(([, a], [, b]) => b - a)),
    cold,
    warm,
    cold_ratio: ratioOf(cold, cold + warm),
    request_bytes,
    response_bytes,
    ...timesOf(histograms),
  };
}

/** A point of `Stats`. */
export function pointOf(at: number, tally: Tally | undefined, ms: number): Stats["points"][number] {
  return { at: timestamp(at), ...figuresOf(tally ?? new Tally(), ms) };
}

function timesOf(histograms: Tally["times"]): Pick<Figures, Time> {
  const of = (name: Time) => {
    const [p50, p95, p99] = histograms[name].quantiles(Object.values(PARTS)) ?? [];
    return p50 === undefined || p95 === undefined || p99 === undefined ? null : { p50, p95, p99 };
  };
  return {
    duration_ms: of("duration_ms"),
    queue_ms: of("queue_ms"),
    start_ms: of("start_ms"),
    boot_ms: of("boot_ms"),
    run_ms: of("run_ms"),
  };
}

function ratioOf(part: number, all: number): number | null {
  return all === 0 ? null : rounded(part / all);
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
