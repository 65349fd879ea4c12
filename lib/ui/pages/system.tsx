import { useContext } from "preact/hooks";
import { SessionContext } from "../data/session.ts";
import { sumOf } from "../data/metrics.ts";
import { useHealth } from "../data/use-health.ts";
import { bytes, count, duration } from "../format/numbers.ts";
import { Facts } from "../parts/facts.tsx";
import { Loading, Problem } from "../parts/notices.tsx";
import { Page, Section } from "../parts/page.tsx";
import { Status } from "../parts/status.tsx";
import { Time } from "../parts/time.tsx";
import { CheckNotice } from "./overview/now.tsx";

const FRESH_MS = 3_000;

/** The server itself: engine, database, process, and what runs on the engine. */
export function SystemPage() {
  const { version } = useContext(SessionContext);
  const { readiness, metrics, error } = useHealth(FRESH_MS);
  if (readiness === undefined || metrics === undefined) {
    return <Page title="System">{error === undefined ? <Loading /> : <Problem error={error} />}</Page>;
  }
  const state = (ok: boolean) => <Status value={ok ? "ok" : "away"} />;
  const value = (name: string) => metrics.get(name);
  const started = value("process_start_time_seconds");
  const instances = (label: string) => count(value(`slipway_instances{state="${label}"}`));
  const isolated = (label: string) => count(value(`slipway_instances_by_isolation{isolation="${label}"}`));
  const calls = sumOf(metrics, "slipway_engine_calls_total");
  return (
    <Page title="System">
      <Problem error={error} />
      <CheckNotice name="engine" check={readiness.engine} />
      <CheckNotice name="database" check={readiness.database} />
      <Section title="Server">
        <Facts
          facts={[
            ["Version", version],
            ["Started", started === undefined ? null : <Time key="at" at={new Date(started * 1_000).toISOString()} />],
            ["Memory", bytes(value("process_resident_memory_bytes"))],
            ["Processor time", duration((value("process_cpu_seconds_total") ?? 0) * 1_000)],
            ["Open files", count(value("process_open_fds"))],
            ["Queued calls", count(sumOf(metrics, "slipway_queued_calls"))],
            ["Refused calls", count(sumOf(metrics, "slipway_rejections_total"))],
          ]}
        />
      </Section>
      <Section title="Engine">
        <Facts
          facts={[
            ["State", state(readiness.engine.ok)],
            ["Requests", count(calls)],
            ["Failed requests", count(sumOf(metrics, "slipway_engine_errors_total"))],
            ["Pulls", count(sumOf(metrics, "slipway_pulls_total"))],
            ["Busy instances", instances("busy")],
            ["Ready instances", instances("ready")],
            ["Starting", instances("starting")],
            ["Booting", instances("booting")],
            ["Isolated as containers", isolated("container")],
            ["as cells", isolated("cell")],
            ["as processes", isolated("process")],
          ]}
        />
      </Section>
      <Section title="Database">
        <Facts
          facts={[
            ["State", state(readiness.database.ok)],
            ["Size on the disk", bytes(value("slipway_database_bytes"))],
            ["Records that could not be written", count(value("slipway_records_dropped_total"))],
          ]}
        />
      </Section>
    </Page>
  );
}
