import type { Clock } from "../../clock.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { TracingSettings } from "./settings.ts";
import { SpanQueue } from "./span-queue.ts";
import type { Glossary } from "./spans.ts";
import { Tracing } from "./tracing.ts";

interface StartDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Releases what was made, last made first. */
  readonly stack: AsyncDisposableStack;
  readonly glossary: Glossary;
}

/** Begins to trace; without settings no spans are exported, and nothing is loaded for it. */
export async function startTracing(settings: TracingSettings | null, deps: StartDeps): Promise<Tracing> {
  if (settings === null) return new Tracing(null);
  const { clock, log, metrics, stack, glossary } = deps;
  const { Otlp } = await import("./otlp.ts");
  const otlp = new Otlp(settings);
  // Not awaited: it waits for requests to a collector that does not answer.
  stack.defer(() => void otlp.stop().catch(() => undefined));
  const queue = stack.use(new SpanQueue({ send: (spans) => otlp.send(spans), clock, log }));
  const help = "Ends of calls, attempts and callbacks whose spans were dropped, as the collector was away or slow";
  metrics.counter("slipway_traces_dropped_total", help, () => queue.dropped);
  return new Tracing({
    samples: (traceId, caller) => otlp.samples(traceId, caller),
    add: (make) => queue.add(make),
    glossary,
  });
}
