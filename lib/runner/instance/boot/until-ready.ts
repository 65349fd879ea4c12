import type { Clock } from "../../../clock.ts";
import type { LogEntry } from "../../../domain/calls/invocations.ts";
import { type BootPlan, initError, notReadyInTime } from "../boot-plan.ts";
import type { InitFailure } from "./asking-app.ts";
import { within } from "./within.ts";

/**
 * Waits for at most so many milliseconds until a function that listens is also ready. Throws the error of one that is late or reports
 * that it cannot start, with its output.
 */
export async function untilReady(
  isReady: Promise<InitFailure | undefined>,
  ms: number,
  clock: Pick<Clock, "after">,
  plan: BootPlan,
  output: () => readonly LogEntry[],
): Promise<void> {
  const failure = await within(clock, ms, isReady, () => notReadyInTime(plan, output(), true));
  if (failure !== undefined) throw initError(failure, output());
}
