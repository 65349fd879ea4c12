import type { Registry } from "../../domain/images/registries.ts";
import { useData } from "../data/use-data.ts";
import { Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";

const COLUMNS: readonly Column<Registry>[] = [
  { head: "Host", wide: true, cell: ({ host }) => <code>{host}</code> },
  { head: "User", cell: ({ username }) => username ?? "" },
  { head: "Created", numeric: true, cell: ({ created_at }) => <Time at={created_at} /> },
  { head: "Changed", numeric: true, cell: ({ updated_at }) => <Time at={updated_at} /> },
];

/** The registries whose images need credentials. No page ever gets their passwords. */
export function RegistriesPage() {
  const { data, error, reload } = useData<readonly Registry[]>("/v1/registries");
  return (
    <Page title="Registries">
      <Problem error={error} onRetry={reload} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.length === 0 ? (
        <Empty title="No registries with credentials">
          Images that everyone may pull need none. For others: <code>PUT /v1/registries/HOST</code>; see{" "}
          <a href="/docs/secrets-and-registries">the manual</a>.
        </Empty>
      ) : (
        <Table label="Registries" columns={COLUMNS} rows={data} keyOf={({ host }) => host} />
      )}
    </Page>
  );
}
