import { sumOf } from "../../data/metrics.ts";
import { type Check, useHealth } from "../../data/use-health.ts";
import { count } from "../../format/numbers.ts";
import { Figure } from "../../parts/facts.tsx";
import { Problem } from "../../parts/notices.tsx";

const FRESH_MS = 3_000;

/** The state of the server right now: the engine, instances and the queue. */
export function Now() {
  const { readiness, metrics, error } = useHealth(FRESH_MS);
  const instances = (state: string) => metrics?.get(`slipway_instances{state="${state}"}`);
  return (
    <>
      <Problem error={error} />
      <CheckNotice name="engine" check={readiness?.engine} />
      <CheckNotice name="database" check={readiness?.database} />
      <div class="figures" role="group" aria-label="Right now">
        <Figure
          name="Engine"
          value={readiness === undefined ? "–" : readiness.engine.ok ? "ok" : "away"}
          note={readiness?.engine.ok === false ? "nothing can run" : "runs functions"}
          tone={readiness === undefined ? "plain" : readiness.engine.ok ? "good" : "bad"}
        />
        <Figure name="Busy instances" value={count(instances("busy"))} note="run a call" />
        <Figure name="Ready" value={count(instances("ready"))} note="wait for a call" />
        <Figure
          name="Starting"
          value={count(metrics === undefined ? undefined : (instances("starting") ?? 0) + (instances("booting") ?? 0))}
          note="not ready yet"
        />
        <Figure
          name="Queued calls"
          value={count(metrics === undefined ? undefined : sumOf(metrics, "slipway_queued_calls"))}
          note="wait for a place"
        />
      </div>
    </>
  );
}

/** Says what is wrong with a part of the server, and how to fix it; nothing if all is well. */
export function CheckNotice({ name, check }: { readonly name: string; readonly check: Check | undefined }) {
  if (check === undefined || check.ok) return null;
  return (
    <div class="notice bad" role="alert">
      <strong>The {name} has a problem</strong>
      <p>{check.problem}</p>
    </div>
  );
}
