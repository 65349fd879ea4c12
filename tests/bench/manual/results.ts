import { join } from "node:path";
import { cpus, loadavg, release, totalmem } from "node:os";
import type { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { run } from "../../../.ci/packages.ts";
import { ROOT } from "../../../.ci/steps.ts";
import type { Measurement } from "../compare.ts";

const GIB = 1024 ** 3;

/** A run of the benchmark. */
export interface Run {
  /** The commit that was measured, in short; with "and changes" if files differed from it. */
  readonly commit: string;
  /** The day of the run: `2026-11-28`. */
  readonly date: string;
  /** Processors, memory, kernel, engine and the load at the beginning, in words. */
  readonly machine: string;
  readonly measured: readonly Measurement[];
}

/** The pages' only source of figures: what the last complete run of the benchmark measured, and what runs of some rows have since. */
export interface Results extends Run {
  readonly parts?: readonly Run[];
}

const PATH = join(import.meta.dir, "results.json");

export async function readResults(): Promise<Results> {
  return (await Bun.file(PATH).json()) as Results; // what writeResults wrote
}

export async function writeResults(results: Results): Promise<void> {
  await Bun.write(PATH, `${JSON.stringify(results, null, 2)}\n`);
}

/** Returns results in which the rows of this run take the place of older ones. */
export function withPart({ parts = [], ...complete }: Results, part: Run): Results {
  const measured = new Set(part.measured.map(({ row }) => row));
  const older = <R extends Run>(run: R): R => ({
    ...run,
    measured: run.measured.filter(({ row }) => !measured.has(row)),
  });
  return { ...older(complete), parts: [...parts.map(older).filter((run) => run.measured.length > 0), part] };
}

/** Describes a run that begins now: what is measured, and on what. */
export async function describeRun(client: EngineClient): Promise<Omit<Run, "measured">> {
  const { stdout: commit } = await run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]);
  const { stdout: changes } = await run(["git", "-C", ROOT, "status", "--porcelain"]);
  return {
    commit: `${commit.trim() || "unknown"}${changes.trim() === "" ? "" : " and changes"}`,
    date: new Date().toISOString().slice(0, 10),
    machine: await describeMachine(client),
  };
}

async function describeMachine(client: EngineClient): Promise<string> {
  const info = (await client.json("GET", "/info")) as Readonly<Record<string, string | undefined>>; // the engine's own format
  const [processor] = cpus();
  const memory = `${Math.round(totalmem() / GIB)} GiB`;
  const engine = `engine ${info["ServerVersion"]} (${info["Driver"]}, cgroup ${info["CgroupVersion"] ?? "1"})`;
  const load = `load ${(loadavg()[0] ?? 0).toFixed(1)} at the beginning`;
  return [`${cpus().length} × ${processor?.model ?? process.arch}`, memory, `Linux ${release()}`, engine, load].join(
    ", ",
  );
}
