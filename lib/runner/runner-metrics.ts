import type { Metrics } from "../metrics.ts";
import type { Admission } from "./admission.ts";
import { byIsolation, totalsOf } from "./pool/figures.ts";
import type { Pool } from "./pool/pool.ts";
import type { SharedPlaces } from "./shared-places.ts";

const INSTANCE_STATES = ["ready", "starting", "booting", "busy"] as const;

/** The parts of a runner that metrics show. */
interface Shown {
  readonly pools: () => Iterable<Pool>;
  readonly admission: Pick<Admission, "waiting">;
  readonly sharedPlaces: Pick<SharedPlaces, "waiting"> | null;
  readonly isEngineUp: () => boolean;
}

/** Adds the metrics of a runner: its instances, the calls that wait, and its engine. */
export function addRunnerMetrics(metrics: Metrics, { pools, admission, sharedPlaces, isEngineUp }: Shown): void {
  metrics.gauge("slipway_instances", "Instances by state", ["state"], () => {
    const totals = totalsOf(pools());
    return INSTANCE_STATES.map((state) => ({ labels: { state }, value: totals[state] }));
  });
  metrics.gauge("slipway_streams", "Calls that instances of the contract http serve", [], () => [
    { value: totalsOf(pools()).streams },
  ]);
  const isolations = "Instances by what a call gets fresh: a container, a cell or a process";
  metrics.gauge("slipway_instances_by_isolation", isolations, ["isolation"], () =>
    Object.entries(byIsolation(pools())).map(([isolation, value]) => ({ labels: { isolation }, value })),
  );
  const waiting = "Calls that wait for a place among the running instances, or of a max_concurrency that servers share";
  metrics.gauge("slipway_queued_calls", waiting, [], () => [
    { value: admission.waiting + (sharedPlaces?.waiting ?? 0) },
  ]);
  metrics.gauge("slipway_engine_up", "1 while the engine answers", [], () => [{ value: isEngineUp() ? 1 : 0 }]);
}
