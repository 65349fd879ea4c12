import { Link } from "wouter-preact";
import type { ScheduleWithTimes as Scheduled } from "../data/schedules.ts";
import { ask, segment, withQuery } from "../data/api.ts";
import { useFunctionNames } from "../data/function-names.ts";
import { functionPath } from "../data/functions.ts";
import { useRights } from "../data/session.ts";
import { useAction } from "../data/use-action.ts";
import { useData } from "../data/use-data.ts";
import { absolute } from "../format/times.ts";
import { Done, Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { Status } from "../parts/status.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { InvocationLink } from "./invocation/invocation-table.tsx";

const FRESH_MS = 5_000;

/** The schedules: when they run next, and pausing them or running them now. */
export function SchedulesPage() {
  const { data, error, reload } = useData<readonly Scheduled[]>("/v1/schedules", FRESH_MS);
  const names = useFunctionNames((data ?? []).map(({ function_id }) => function_id));
  const { deploy, invoke } = useRights();
  const action = useAction();
  const pause = (schedule: Scheduled) =>
    action.run(async () => {
      const paused = !schedule.paused;
      await ask(`/v1/schedules/${segment(schedule.id)}`, { method: "PATCH", body: { paused } });
      reload();
      return paused ? "Paused: no runs take place." : "It runs again.";
    });
  const runNow = ({ function_id, body }: Scheduled) =>
    action.run(async () => {
      const path = withQuery(`/v1/functions/${segment(function_id)}/invoke`, { async: "true" });
      const made = await ask<{ id: string }>(path, { method: "POST", body });
      return `Queued as invocation ${made.id}.`;
    });
  const columns: readonly Column<Scheduled>[] = [
    ...columnsWith(names),
    {
      head: "",
      cell: (schedule) => (
        <span class="actions">
          {deploy ? (
            <button type="button" disabled={action.busy} onClick={() => pause(schedule)}>
              {schedule.paused ? "Resume" : "Pause"}
            </button>
          ) : null}
          {invoke ? (
            <button type="button" disabled={action.busy} onClick={() => runNow(schedule)}>
              Run now
            </button>
          ) : null}
        </span>
      ),
    },
  ];
  return (
    <Page title="Schedules">
      <Done>{action.done}</Done>
      <Problem error={action.error ?? error} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.length === 0 ? (
        <Empty title="No schedules yet">
          A schedule calls a function by the clock: <code>POST /v1/schedules</code>, or <code>schedules</code> in the
          file of <code>slipway apply</code>.
        </Empty>
      ) : (
        <Table label="Schedules" columns={columns} rows={data} keyOf={({ id }) => id} />
      )}
    </Page>
  );
}

function columnsWith(names: ReadonlyMap<string, string>): readonly Column<Scheduled>[] {
  return [
    {
      head: "Function",
      cell: ({ function_id }) => (
        <Link href={functionPath(function_id)}>{names.get(function_id) ?? function_id.slice(0, 8)}</Link>
      ),
    },
    { head: "State", cell: ({ paused }) => <Status value={paused ? "paused" : "active"} /> },
    {
      head: "When",
      cell: ({ cron, timezone }) => (
        <>
          <code>{cron}</code> <span class="quiet">{timezone}</span>
        </>
      ),
    },
    { head: "Next runs", cell: ({ next }) => <Next times={next} /> },
    {
      head: "Last run",
      cell: ({ last_invocation_id: id }) =>
        id === null ? <span class="quiet">none yet</span> : <InvocationLink id={id} />,
    },
    { head: "If it overlaps", cell: ({ overlap }) => overlap },
    { head: "If missed", cell: ({ catch_up }) => (catch_up === "one" ? "one run" : "nothing") },
  ];
}

function Next({ times }: { readonly times: readonly string[] }) {
  const [first] = times;
  if (first === undefined) return <span class="quiet">none</span>;
  return (
    <details>
      <summary>
        <Time at={first} />
      </summary>
      <ol>
        {times.map((time) => (
          <li key={time}>{absolute(time)}</li>
        ))}
      </ol>
    </details>
  );
}
