import { readFileSync } from "node:fs";
import { median, type Summary, summarize } from "./statistics.ts";

/** One of two things that are compared: an operation that is done again and again. */
export interface Side {
  readonly name: string;
  /** One operation; what it returns is not looked at. */
  readonly run: () => Promise<unknown>;
  /** Waited for before each operation and not measured, such as for a pool to be full again. */
  readonly settle?: () => Promise<unknown>;
}

/** Two sides measured in turns. */
export interface Comparison {
  readonly metric: string;
  /** Of the per-round ratios of medians: the first side over the second. */
  readonly ratio: { readonly median: number; readonly min: number; readonly max: number };
  readonly target: number | null;
  readonly sides: readonly (Summary & { readonly name: string; readonly cpu_ms: number })[];
}

/**
 * Measures A B A B: machines are shared, and only what was measured in the same minute can be compared. The CPU time is
 * the whole machine's, since the engine does its work in other processes.
 */
export async function compare(options: {
  readonly metric: string;
  readonly target?: number;
  readonly rounds: number;
  readonly perRound: number;
  readonly sides: readonly [Side, Side];
}): Promise<Comparison> {
  const samples = options.sides.map(() => ({ all: [] as number[], medians: [] as number[], cpu_ms: 0 }));
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
        sample.cpu_ms += machineCpuMs() - cpu;
      }
      sample.all.push(...durations);
      sample.medians.push(median(durations));
    }
  }
  const [first, second] = samples;
  const ratios = (first?.medians ?? []).map((value, round) => value / (second?.medians[round] ?? Number.NaN));
  return {
    metric: options.metric,
    target: options.target ?? null,
    ratio: { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) },
    sides: options.sides.map(({ name }, index) => {
      const sample = samples[index];
      return { name, ...summarize(sample?.all ?? []), cpu_ms: (sample?.cpu_ms ?? 0) / (sample?.all.length ?? 1) };
    }),
  };
}

/** Linux counts in hundredths of a second. */
const TICK_MS = 10;

/** CPU time that the machine has spent working, in milliseconds. */
export function machineCpuMs(): number {
  const line = readFileSync("/proc/stat", "utf8").split("\n", 1)[0] ?? "";
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) * TICK_MS;
}
