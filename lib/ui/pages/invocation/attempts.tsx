import { useState } from "preact/hooks";
import type { Attempt } from "../../../domain/calls/attempts.ts";
import type { Invocation, InvocationLogs } from "../../../domain/calls/invocations.ts";
import { segment } from "../../data/api.ts";
import { useData } from "../../data/use-data.ts";
import { duration } from "../../format/numbers.ts";
import { Logs } from "../../parts/logs.tsx";
import { Empty, Loading, Problem } from "../../parts/notices.tsx";
import { Section } from "../../parts/page.tsx";
import { Status } from "../../parts/status.tsx";
import { type Column, Table } from "../../parts/table.tsx";
import { Time } from "../../parts/time.tsx";

/** The attempts at an asynchronous call, each with what it printed. */
export function Attempts({ record }: { readonly record: Invocation }) {
  const isOver = record.finished_at !== null;
  const path = `/v1/invocations/${segment(record.id)}/attempts`;
  // A change of the record means that an attempt began or ended.
  const { data, error } = useData<readonly Attempt[]>(
    `${path}?of=${record.attempts}-${record.status}`,
    isOver ? 0 : 3_000,
  );
  const [shown, setShown] = useState<number | null>(null);
  const columns: readonly Column<Attempt>[] = [
    { head: "Attempt", numeric: true, cell: ({ attempt }) => attempt },
    { head: "Status", cell: ({ status }) => <Status value={status} /> },
    { head: "Start", cell: ({ start }) => start ?? "–" },
    { head: "Queue", numeric: true, cell: ({ queue_ms }) => duration(queue_ms) },
    { head: "Wait", numeric: true, cell: ({ start_ms }) => duration(start_ms) },
    { head: "Run", numeric: true, cell: ({ run_ms }) => duration(run_ms) },
    { head: "Began", numeric: true, cell: ({ started_at }) => <Time at={started_at} /> },
    {
      head: "Problem",
      wide: true,
      cell: ({ message, reason }) => <span title={message ?? ""}>{reason?.replaceAll("_", " ")}</span>,
    },
    {
      head: "",
      cell: ({ attempt, log_bytes }) =>
        log_bytes === 0 ? null : (
          <button
            type="button"
            aria-expanded={shown === attempt}
            onClick={() => setShown(shown === attempt ? null : attempt)}
          >
            Logs of {attempt}
          </button>
        ),
    },
  ];
  return (
    <Section title="Attempts">
      <Problem error={error} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.length === 0 ? (
        <Empty title="No attempt yet">It waits in the queue for its turn.</Empty>
      ) : (
        <Table label="Attempts" columns={columns} rows={data} keyOf={({ attempt }) => attempt} />
      )}
      {shown === null ? null : <AttemptLogs path={`${path}/${shown}/logs`} attempt={shown} />}
    </Section>
  );
}

function AttemptLogs({ path, attempt }: { readonly path: string; readonly attempt: number }) {
  const { data, error } = useData<InvocationLogs>(path);
  if (data === undefined) return <Problem error={error} />;
  return <Logs label={`What attempt ${attempt} printed`} entries={data.entries} />;
}
