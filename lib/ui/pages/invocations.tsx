import { useState } from "preact/hooks";
import { useSearchParams } from "wouter-preact";
import type { InvocationPage } from "../../domain/calls/invocations.ts";
import { withQuery } from "../data/api.ts";
import { useData } from "../data/use-data.ts";
import { Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { Choice, Search } from "../parts/search.tsx";
import { Pager } from "../parts/table.tsx";
import { InvocationTable } from "./invocation/invocation-table.tsx";

const PAGE_SIZE = 50;
const FRESH_MS = 5_000;

const STATUSES = ["queued", "running", "succeeded", "failed", "timed_out", "cancelled", "dead"] as const;
const SINCE = [
  ["", "Any time"],
  ["300000", "Last 5 minutes"],
  ["3600000", "Last hour"],
  ["86400000", "Last day"],
  ["604800000", "Last week"],
] as const;

/** The records of calls, by function, status and time. The filters are in the address, so that it can be passed on. */
export function InvocationsPage() {
  const [params, setParams] = useSearchParams();
  const [trail, setTrail] = useState<readonly string[]>([]);
  const given = (name: string) => params.get(name) ?? "";
  const change = (name: string) => (value: string) => {
    setTrail([]);
    setParams((before) => {
      const after = new URLSearchParams(before);
      if (value === "") after.delete(name);
      else after.set(name, value);
      return after;
    });
  };
  const path = usePath(given("function"), given("status"), given("within"), trail.at(-1));
  // Pages beyond the first one stand still, so that nothing moves under the reader's eyes.
  const { data, error, reload } = useData<InvocationPage>(path, trail.length === 0 ? FRESH_MS : 0);
  return (
    <Page title="Invocations">
      <div class="filters" role="search">
        <Search label="Function (name or id)" value={given("function")} onChange={change("function")} />
        <Choice
          label="Status"
          value={given("status")}
          options={[["", "Any status"], ...STATUSES.map((status) => [status, status.replaceAll("_", " ")] as const)]}
          onChange={change("status")}
        />
        <Choice label="Created" value={given("within")} options={SINCE} onChange={change("within")} />
      </div>
      <Problem error={error} onRetry={reload} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.invocations.length === 0 ? (
        <Empty title="No invocations">
          {params.size > 0
            ? "Nothing matches these filters: take one away."
            : "Call a function, and its record is here."}
        </Empty>
      ) : (
        <InvocationTable label="Invocations" invocations={data.invocations} />
      )}
      <Pager trail={trail} next={data?.next_cursor} onTurn={setTrail} />
    </Page>
  );
}

/** Returns the path of the list. "Within the last hour" is counted from when it was chosen: pages must fit together. */
function usePath(function_id: string, status: string, within: string, cursor: string | undefined): string {
  const [chosen, setChosen] = useState({ within, at: Date.now() });
  const current = chosen.within === within ? chosen : { within, at: Date.now() };
  if (current !== chosen) setChosen(current);
  const since = within === "" ? "" : new Date(current.at - Number(within)).toISOString();
  return withQuery("/v1/invocations", { limit: PAGE_SIZE, function_id, status, since, cursor });
}
