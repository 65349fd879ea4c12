import type { Function } from "../../domain/functions/functions.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { Metrics } from "../../metrics.ts";

/** Returns the name of a function in metrics. */
export function labelOf({ id, name }: Pick<Function, "id" | "name">): string {
  return name ?? id;
}

/** Counts a run that has ended, and measures its waits. */
export function countRun(
  metrics: Metrics,
  {
    status,
    start,
    queue_ms,
    start_ms,
    run_ms,
  }: Pick<Invocation, "status" | "start" | "queue_ms" | "start_ms" | "run_ms">,
  fn: Pick<Function, "id" | "name">,
): void {
  const label = labelOf(fn);
  metrics.invocations.inc({ function: label, status, start: start ?? "none" });
  if (queue_ms !== null) metrics.queueSeconds.observe({ function: label }, queue_ms / 1000);
  if (start_ms !== null) metrics.startSeconds.observe({ function: label }, start_ms / 1000);
  if (run_ms !== null) metrics.runSeconds.observe({ function: label }, run_ms / 1000);
}
