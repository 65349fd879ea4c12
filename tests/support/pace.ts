import { expect } from "bun:test";
import { availableParallelism, loadavg } from "node:os";
import { containerPace } from "../../.ci/engine/container-life.ts";
import { acquiredEngine } from "../../.ci/engine/engine.ts";
import { fixture } from "./images.ts";

/**
 * How many times longer everything may take than on a machine of its own: more than 1 on an emulated one (`.ci/test.ts`).
 * Limits that are not measured against `slowdown` are multiplied by it.
 */
export const PACE = Number(process.env["SLIPWAY_TEST_PACE"] ?? 1);

/** Processor time that a look at the machine uses. */
const SPIN_MS = 50;
/** The interval at which a condition is checked. */
const INTERVAL_MS = 20;

const RECENT_MS = 60_000;
let recent: readonly { readonly at: number; readonly measured: number }[] = [];

/** Below it a machine counts as quiet. */
const QUIET = 1.5;

/**
 * Returns how much longer things may take on this machine at the moment than on a quiet one, at least 1. It measures work
 * of this process and, if the tests use an engine, the life of a container, and takes the load of the last minute into
 * account, as what was late may have met work that is done by now. A busy machine's pace varies: the worst measurement of
 * the last minute counts, and twice.
 */
export async function slowdown(): Promise<number> {
  const engine = await acquiredEngine();
  const container = engine === undefined ? 0 : await containerPace(engine.client, await fixture("chaos"));
  const measured = Math.max(PACE, spin(), container, (loadavg()[0] ?? 0) / availableParallelism());
  recent = [...recent.filter(({ at }) => at > performance.now() - RECENT_MS), { at: performance.now(), measured }];
  const worst = Math.max(...recent.map((one) => one.measured));
  return worst < QUIET ? worst : 2 * worst;
}

/**
 * Checks that something took less than `limitMs`, a limit for a quiet machine. On a busy one the limit grows as the
 * machine slows down.
 */
export async function expectWithin(tookMs: number, limitMs: number): Promise<void> {
  const factor = tookMs < limitMs ? 1 : await slowdown();
  expect(tookMs).toBeLessThan(limitMs * factor);
}

/**
 * Waits until a condition holds; returns false if it does not within `limitMs`, a limit for a quiet machine that grows on
 * a busy one. For conditions without an event that a test could await.
 */
export async function eventually(holds: () => boolean | Promise<boolean>, limitMs = 5_000): Promise<boolean> {
  const started = performance.now();
  if (await holdsUntil(holds, started + limitMs)) return true;
  return holdsUntil(holds, started + limitMs * (await slowdown()));
}

async function holdsUntil(holds: () => boolean | Promise<boolean>, deadline: number): Promise<boolean> {
  for (;;) {
    if (await holds()) return true;
    if (performance.now() > deadline) return false;
    await Bun.sleep(INTERVAL_MS);
  }
}

/** Starts to count the processor time of this process. The returned function returns it, in milliseconds. */
export function processorTime(): () => number {
  const started = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(started);
    return (user + system) / 1_000;
  };
}

/** Returns the time that work takes per processor time that it uses: 1 on a machine with an idle core. */
function spin(): number {
  const started = performance.now();
  const used = processorTime();
  while (used() < SPIN_MS);
  return (performance.now() - started) / used();
}
