import { useContext } from "preact/hooks";
import type { SystemState, Unowned } from "../../domain/system/system.ts";
import { sumOf } from "../data/metrics.ts";
import { SessionContext } from "../data/session.ts";
import { useData } from "../data/use-data.ts";
import { useHealth } from "../data/use-health.ts";
import { bytes, count, duration } from "../format/numbers.ts";
import { Budget } from "../parts/budget.tsx";
import { Facts } from "../parts/facts.tsx";
import { Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page, Section } from "../parts/page.tsx";
import { Status } from "../parts/status.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { CheckNotice } from "./overview/now.tsx";

const FRESH_MS = 5_000;

/** The server itself: engine, database, budgets, process, and what it has lost on the engine. */
export function SystemPage() {
  const { data: system, error: problem } = useData<SystemState>("/v1/system", FRESH_MS);
  const { metrics, error } = useHealth(FRESH_MS);
  if (system === undefined || metrics === undefined) {
    const failed = problem ?? error;
    return <Page title="System">{failed === undefined ? <Loading /> : <Problem error={failed} />}</Page>;
  }
  return (
    <Page title="System">
      <Problem error={problem ?? error} />
      <CheckNotice name="engine" check={system.engine} />
      <CheckNotice name="database" check={system.database} />
      <Section title="Budgets">
        <Budgets budgets={system.budgets} />
      </Section>
      <Section title="Left on the engine">
        <WithoutOwner unowned={system.unowned} />
      </Section>
      <Servers servers={system.servers} />
      <Server metrics={metrics} />
      <Engine metrics={metrics} isOk={system.engine.ok} />
      <Section title="Database">
        <Facts
          facts={[
            ["State", state(system.database.ok)],
            // PostgreSQL has no file here.
            ["Size on the disk", system.database.bytes === 0 ? null : bytes(system.database.bytes)],
            ["Lost records", count(metrics.get("slipway_records_dropped_total"))],
          ]}
        />
      </Section>
    </Page>
  );
}

function Budgets({ budgets }: { readonly budgets: SystemState["budgets"] }) {
  const { instances, memory_bytes, waiting_calls, body_bytes, queue_bytes } = budgets;
  return (
    <div class="budgets">
      <Budget name="Instances" {...instances} format={count} note="MAX_INSTANCES; of all functions" />
      <Budget name="Memory of instances" {...memory_bytes} format={bytes} note="MEMORY_BUDGET; their limits together" />
      <Budget name="Waiting calls" {...waiting_calls} format={count} note="QUEUE_LIMIT; for a place to run" />
      <Budget name="Bodies in memory" {...body_bytes} format={bytes} note="BODY_MEMORY; on their way in or out" />
      <Budget name="Queue in the database" {...queue_bytes} format={bytes} note="QUEUE_BYTES; requests and results" />
    </div>
  );
}

const COLUMNS: readonly Column<Unowned>[] = [
  { head: "Kind", cell: ({ kind }) => kind },
  { head: "Name", cell: ({ name }) => <code title={name}>{name}</code> },
  { head: "What to do", wide: true, cell: ({ problem }) => <span title={problem}>{problem}</span> },
];

function WithoutOwner({ unowned }: { readonly unowned: SystemState["unowned"] }) {
  if (unowned === null) {
    return (
      <Empty title="Not known now">
        The engine cannot be asked what carries this server's label. It is asked again when it is back.
      </Empty>
    );
  }
  return (
    <>
      <p>
        <Status value={`${count(unowned.length)} without an owner`} tone={unowned.length === 0 ? "good" : "bad"} />{" "}
        <span class="quiet">
          {unowned.length === 0
            ? "Every container, image, network and volume with this server's label is one that it knows."
            : "Containers, images, networks and volumes with this server's label that it does not know:"}
        </span>
      </p>
      {unowned.length === 0 ? null : (
        <Table
          label="Left on the engine"
          columns={COLUMNS}
          rows={unowned}
          keyOf={({ kind, name }) => `${kind} ${name}`}
        />
      )}
    </>
  );
}

type ClusterServer = NonNullable<SystemState["servers"]>[number];

const SERVER_COLUMNS: readonly Column<ClusterServer>[] = [
  { head: "Server", cell: ({ id }) => <code title={id}>{id}</code> },
  {
    head: "State",
    cell: ({ living }) => <Status value={living ? "alive" : "lost"} tone={living ? "good" : "bad"} />,
  },
  { head: "Last report", cell: ({ heartbeat_age_ms }) => `${duration(heartbeat_age_ms)} ago`, numeric: true },
  { head: "Ready calls", cell: ({ ready }) => count(ready), numeric: true },
  { head: "Version", cell: ({ version }) => version },
  { head: "Takes calls of others at", wide: true, cell: ({ url }) => url ?? "no ADVERTISE_URL" },
];

/** The servers that share the database; nothing if this one has it for itself. */
function Servers({ servers }: { readonly servers: SystemState["servers"] }) {
  if (servers === null) return null;
  return (
    <Section title="Servers of the database">
      <Table label="Servers of the database" columns={SERVER_COLUMNS} rows={servers} keyOf={({ id }) => id} />
    </Section>
  );
}

function state(isOk: boolean) {
  return <Status value={isOk ? "ok" : "away"} />;
}

type Samples = ReadonlyMap<string, number>;

function Server({ metrics }: { readonly metrics: Samples }) {
  const { version } = useContext(SessionContext);
  const started = metrics.get("process_start_time_seconds");
  return (
    <Section title="Server">
      <Facts
        facts={[
          ["Version", version],
          ["Started", started === undefined ? null : <Time key="at" at={new Date(started * 1_000).toISOString()} />],
          ["Memory", bytes(metrics.get("process_resident_memory_bytes"))],
          ["Processor time", duration((metrics.get("process_cpu_seconds_total") ?? 0) * 1_000)],
          ["Open files", count(metrics.get("process_open_fds"))],
          ["Refused calls", count(sumOf(metrics, "slipway_rejections_total"))],
        ]}
      />
    </Section>
  );
}

function Engine({ metrics, isOk }: { readonly metrics: Samples; readonly isOk: boolean }) {
  const instances = (label: string) => count(metrics.get(`slipway_instances{state="${label}"}`));
  const isolated = (label: string) => count(metrics.get(`slipway_instances_by_isolation{isolation="${label}"}`));
  return (
    <Section title="Engine">
      <Facts
        facts={[
          ["State", state(isOk)],
          ["Requests", count(sumOf(metrics, "slipway_engine_calls_total"))],
          ["Failed requests", count(sumOf(metrics, "slipway_engine_errors_total"))],
          ["Pulls", count(sumOf(metrics, "slipway_pulls_total"))],
          ["Instances ready", instances("ready")],
          ["Instances busy", instances("busy")],
          ["Instances starting", instances("starting")],
          ["Instances booting", instances("booting")],
          ["As containers", isolated("container")],
          ["As cells", isolated("cell")],
          ["As processes", isolated("process")],
        ]}
      />
    </Section>
  );
}
