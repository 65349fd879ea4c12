import { Link } from "wouter-preact";
import type { Secret } from "../../domain/secrets.ts";
import { functionPath } from "../data/functions.ts";
import { useData } from "../data/use-data.ts";
import { Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";

const COLUMNS: readonly Column<Secret>[] = [
  { head: "Name", wide: true, cell: ({ name }) => <code>{name}</code> },
  { head: "Used by", cell: ({ used_by }) => <Users names={used_by} /> },
  { head: "Created", numeric: true, cell: ({ created_at }) => <Time at={created_at} /> },
  { head: "Changed", numeric: true, cell: ({ updated_at }) => <Time at={updated_at} /> },
];

/** The secrets by name. No page ever gets their values. */
export function SecretsPage() {
  const { data, error, reload } = useData<readonly Secret[]>("/v1/secrets");
  return (
    <Page title="Secrets">
      <Problem error={error} onRetry={reload} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.length === 0 ? (
        <Empty title="No secrets yet">
          <code>slipway secrets set NAME</code> stores one, encrypted; a function that names it in <code>secrets</code>{" "}
          gets its value. Only functions can read values: this page shows names.
        </Empty>
      ) : (
        <Table label="Secrets" columns={COLUMNS} rows={data} keyOf={({ name }) => name} />
      )}
    </Page>
  );
}

function Users({ names }: { readonly names: Secret["used_by"] }) {
  if (names.length === 0) return <span class="quiet">nobody</span>;
  return (
    <>
      {names.map(({ id, name }, index) => (
        <span key={id}>
          {index === 0 ? "" : ", "}
          <Link href={functionPath(name ?? id)}>{name ?? id.slice(0, 8)}</Link>
        </span>
      ))}
    </>
  );
}
