import { Link } from "wouter-preact";
import type { Invocation, ShownInvocation } from "../../../domain/calls/invocations.ts";
import { segment } from "../../data/api.ts";
import { useFunctionNames } from "../../data/function-names.ts";
import { functionPath } from "../../data/functions.ts";
import { useData } from "../../data/use-data.ts";
import { type Followed, useInvocation } from "../../data/use-events.ts";
import { bytes, duration } from "../../format/numbers.ts";
import { Facts } from "../../parts/facts.tsx";
import { Logs } from "../../parts/logs.tsx";
import { Empty, Loading, Problem } from "../../parts/notices.tsx";
import { Page, Section } from "../../parts/page.tsx";
import { Status } from "../../parts/status.tsx";
import { Time } from "../../parts/time.tsx";
import { TimingBar } from "../../parts/timing-bar.tsx";
import { Actions } from "./actions.tsx";
import { Answer } from "./answer.tsx";
import { Attempts } from "./attempts.tsx";
import { CallbackDelivery } from "./callback-delivery.tsx";
import { Followers } from "./followers.tsx";
import { InvocationLink } from "./invocation-table.tsx";
import { Request } from "./request.tsx";

/** One call: where its time went, what it was asked and answered, and what was printed, as it comes. */
export function InvocationPage({ id }: { readonly id: string }) {
  const { data, error, reload } = useData<ShownInvocation>(`/v1/invocations/${segment(id)}`);
  const followed = useInvocation(data === undefined ? null : id);
  const record = followed.record ?? data;
  const above = <Link href="/invocations">Invocations</Link>;
  if (record === undefined) {
    return (
      <Page title="Invocation" above={above}>
        {error === undefined ? <Loading /> : <Problem error={error} onRetry={reload} />}
      </Page>
    );
  }
  return (
    <Page title={`Invocation …${id.slice(-12)}`} above={above} actions={<Actions record={record} />}>
      <p class="under">
        <code>{record.id}</code>
      </p>
      {record.message === null ? null : (
        <div class={`notice ${record.status === "succeeded" ? "" : "bad"}`}>
          <strong>{(record.reason ?? record.status).replaceAll("_", " ")}</strong>
          <p>{record.message}</p>
        </div>
      )}
      <Section title="Time">
        <TimingBar record={record} />
      </Section>
      <Section title="Record">
        <Record record={record} serverId={data?.server_id} />
      </Section>
      <Printed followed={followed} />
      <div class="messages">
        <Section title="Request">
          <Request record={record} />
        </Section>
        <Section title="Answer">
          <Answer record={record} />
        </Section>
      </div>
      {record.mode === "async" ? <Attempts record={record} /> : null}
      {record.callback_url === null ? null : <CallbackDelivery record={record} />}
      {record.mode === "async" ? <Followers record={record} /> : null}
    </Page>
  );
}

/** The server is that of when the page was loaded: events have the record alone. */
function Record({ record, serverId }: { readonly record: Invocation; readonly serverId: string | undefined }) {
  const names = useFunctionNames([record.function_id]);
  const link = (other: string | null) => (other === null ? null : <InvocationLink id={other} />);
  return (
    <Facts
      facts={[
        ["Status", <Status key="status" value={record.status} />],
        [
          "Function",
          <Link key="fn" href={functionPath(record.function_id)}>
            {names.get(record.function_id) ?? record.function_id}
          </Link>,
        ],
        ["Version", record.version],
        ["Contract", record.contract],
        ["Mode", record.mode],
        ["Start", record.start],
        ["Exit code", record.exit_code],
        ["Signal", record.signal],
        ["Created", <Time key="created" at={record.created_at} />],
        ["Finished", <Time key="finished" at={record.finished_at} />],
        ["Next attempt", record.run_at === null ? null : <Time key="run" at={record.run_at} />],
        ["First byte", record.first_byte_ms === null ? null : duration(record.first_byte_ms)],
        ["Processor time", record.cpu_ms === null ? null : duration(record.cpu_ms)],
        ["Peak memory", record.peak_memory_bytes === null ? null : bytes(record.peak_memory_bytes)],
        ["Request", bytes(record.request_bytes)],
        ["Answer", record.response_bytes === null ? null : bytes(record.response_bytes)],
        ["Not delivered", record.undelivered?.replaceAll("_", " ")],
        ["Priority", record.mode === "async" ? record.priority : null],
        ["Caused by", link(record.parent_id)],
        ["Replay of", link(record.replay_of)],
        [
          "Schedule",
          record.schedule_id === null ? null : (
            <Link key="s" href="/schedules">
              {record.schedule_id}
            </Link>
          ),
        ],
        [
          "Route",
          record.route_id === null ? null : (
            <Link key="r" href="/routes">
              {record.route_id}
            </Link>
          ),
        ],
        ["Key", record.key_id],
        ["Server", serverId],
        [
          "Image",
          <code key="image" title={record.image_id ?? ""}>
            {record.image_id?.slice(0, 19)}
          </code>,
        ],
      ]}
    />
  );
}

function Printed({ followed }: { readonly followed: Followed }) {
  const { entries, state, record } = followed;
  const live = state === "ended" ? null : <Status value={state === "open" ? "running" : "waiting"} />;
  return (
    <Section title="Logs" actions={live}>
      {entries.length === 0 && state === "connecting" ? (
        <Loading />
      ) : entries.length === 0 ? (
        <Empty title={state === "ended" ? "It printed nothing" : "Nothing was printed yet"}>
          What a function writes to standard output or standard error is here, as it comes.
        </Empty>
      ) : (
        <Logs label="What the function printed" entries={entries} />
      )}
      {record !== undefined && record.log_dropped_bytes > 0 ? (
        <p class="quiet">{bytes(record.log_dropped_bytes)} beyond the limit (log_bytes) were dropped.</p>
      ) : null}
    </Section>
  );
}
