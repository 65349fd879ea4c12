import { readFileSync } from "node:fs";
import type { RowName } from "./manual/rows.ts";
import { median, quantile } from "./statistics.ts";

/** A figure of one side, with its spread. */
export interface Side {
  readonly name: string;
  /** The measured values for people: `3.1 / 4.0 / 9.8 ms, 8 ms CPU`. */
  readonly figure: string;
  /** The median alone: milliseconds, or operations per second. */
  readonly median?: number;
}

/** Two sides measured in turns, or one figure and its limit. */
export interface Measurement {
  readonly row: RowName;
  /** For each round, the first side divided by the second, or the figure itself. */
  readonly value: { readonly median: number; readonly min: number; readonly max: number };
  readonly unit: string;
  /** True if a higher figure is better. */
  readonly higher: boolean;
  readonly sides: readonly Side[];
}

/** An operation that is repeated. */
export interface Operation {
  readonly name: string;
  readonly run: () => Promise<unknown>;
  /** Runs before each operation and is not measured, for example to wait for a full pool. */
  readonly settle?: () => Promise<unknown>;
}

/**
 * Compares the durations of two operations, A B A B: machines are shared, and only measurements of the same minute are
 * comparable. CPU time is that of the whole machine, because the engine works in other processes.
 */
export async function compareTimes(
  row: RowName,
  options: { readonly rounds: number; readonly perRound: number; readonly sides: readonly [Operation, Operation] },
): Promise<Measurement> {
  const samples = options.sides.map(() => ({ all: [] as number[], medians: [] as number[], cpu: 0 }));
  for (const side of options.sides) {
    await side.settle?.();
    await side.run();
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, side] of options.sides.entries()) {
      const sample = samples[index];
      if (sample === undefined) continue;
      const durations: number[] = [];
      for (let i = 0; i < options.perRound; i++) {
        await side.settle?.();
        const cpu = machineCpuMs();
        const started = performance.now();
        await side.run();
        durations.push(performance.now() - started);
        sample.cpu += machineCpuMs() - cpu;
      }
      sample.all.push(...durations);
      sample.medians.push(median(durations));
    }
  }
  const [first, second] = samples;
  return {
    row,
    ...ratios(first?.medians ?? [], second?.medians ?? []),
    higher: false,
    sides: options.sides.map(({ name }, index) => {
      const { all, cpu } = samples[index] ?? { all: [], cpu: 0 };
      return { name, figure: `${times(all)}, ${show(cpu / all.length)} ms CPU`, median: median(all) };
    }),
  };
}

/** A rate in operations per second that is measured as a whole. */
export interface Rate {
  readonly name: string;
  readonly measure: () => Promise<number>;
}

/** Compares two rates, measured in turns. */
export async function compareRates(
  row: RowName,
  rounds: number,
  sides: readonly [Rate, Rate],
  unit = "/s",
): Promise<Measurement> {
  const rates: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    rates[0].push(await sides[0].measure());
    rates[1].push(await sides[1].measure());
  }
  return {
    row,
    ...ratios(...rates),
    higher: true,
    sides: sides.map(({ name }, index) => {
      const rate = median(rates[index] ?? []);
      return { name, figure: `${show(rate)}${unit}`, median: rate };
    }),
  };
}

/** Makes a measurement of a single figure. */
export function figure(
  row: RowName,
  values: readonly number[],
  unit: string,
  sides: readonly Side[] = [],
): Measurement {
  return { row, value: spread(values), unit, higher: false, sides };
}

/** Formats a sample of durations in milliseconds as `p50 / p90 / p99 ms`. */
export function times(sample: readonly number[]): string {
  return `${[0.5, 0.9, 0.99].map((share) => show(quantile(sample, share))).join(" / ")} ms`;
}

/** Formats a number with three significant digits. */
export function show(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(2);
}

/** Calls `run` for a while, some at a time, and returns the number of calls per second. */
export async function rateOf(seconds: number, atOnce: number, run: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  let done = 0;
  const loop = async () => {
    while (performance.now() - started < seconds * 1000) {
      await run();
      done++;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, loop));
  return done / ((performance.now() - started) / 1000);
}

function ratios(first: readonly number[], second: readonly number[]): Pick<Measurement, "value" | "unit"> {
  return { value: spread(first.map((value, round) => value / (second[round] ?? Number.NaN))), unit: "" };
}

function spread(values: readonly number[]): Measurement["value"] {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Linux counts CPU time in hundredths of a second. */
const TICK_MS = 10;

/** Returns the CPU time that the machine has spent working, in milliseconds. */
function machineCpuMs(): number {
  const line = readFileSync("/proc/stat", "utf8").split("\n", 1)[0] ?? "";
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) * TICK_MS;
}
