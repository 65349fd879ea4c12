import { useState } from "preact/hooks";
import type { AuditEntry, AuditPage as Entries } from "../../domain/audit.ts";
import { withQuery } from "../data/api.ts";
import { useData } from "../data/use-data.ts";
import { Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { Choice, Search } from "../parts/search.tsx";
import { Status } from "../parts/status.tsx";
import { type Column, Pager, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";

const PAGE_SIZE = 50;

const COLUMNS: readonly Column<AuditEntry>[] = [
  { head: "When", cell: ({ at }) => <Time at={at} /> },
  { head: "Event", cell: ({ event }) => <Status value={event} /> },
  { head: "Key", cell: ({ key_id }) => key_id ?? <span class="quiet">none</span> },
  { head: "Address", cell: ({ address }) => <code>{address ?? ""}</code> },
  { head: "Request", wide: true, cell: ({ method, path }) => <code>{`${method} ${path}`}</code> },
  { head: "Status", numeric: true, cell: ({ status }) => status },
];

/** The page of changes and refused keys. */
export function AuditPage() {
  const [event, setEvent] = useState("");
  const [key, setKey] = useState("");
  const [trail, setTrail] = useState<readonly string[]>([]);
  const from = (change: (text: string) => void) => (text: string) => {
    setTrail([]);
    change(text);
  };
  const path = withQuery("/v1/audit", { limit: PAGE_SIZE, event, key_id: key.trim(), cursor: trail.at(-1) });
  const { data, error, reload } = useData<Entries>(path);
  return (
    <Page title="Audit">
      <div class="filters" role="search">
        <Choice
          label="Event"
          value={event}
          options={[
            ["", "All events"],
            ["change", "Changes"],
            ["refused_key", "Refused keys"],
          ]}
          onChange={from(setEvent)}
        />
        <Search label="Id of a key" value={key} onChange={from(setKey)} />
      </div>
      <Problem error={error} onRetry={reload} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.entries.length === 0 ? (
        <Empty title="Nothing recorded">Changes by way of the API, logins and refused keys are recorded here.</Empty>
      ) : (
        <Table label="Audit" columns={COLUMNS} rows={data.entries} keyOf={({ id }) => id} />
      )}
      <Pager trail={trail} next={data?.next_cursor} onTurn={setTrail} />
    </Page>
  );
}
