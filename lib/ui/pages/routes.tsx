import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import type { Route } from "../../domain/routes/routes.ts";
import { withQuery } from "../data/api.ts";
import { functionPath, nameOf } from "../data/functions.ts";
import { useData } from "../data/use-data.ts";
import { bytes, count, duration } from "../format/numbers.ts";
import { Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { Status } from "../parts/status.tsx";
import { type Column, Pager, Table } from "../parts/table.tsx";

const PAGE_SIZE = 50;

const COLUMNS: readonly Column<Route>[] = [
  {
    head: "Address",
    wide: true,
    cell: ({ path, hosts }) => <code>{path === null ? hosts.join(", ") : `/r${path}`}</code>,
  },
  { head: "Function", cell: ({ function: fn }) => <Link href={functionPath(fn.name ?? fn.id)}>{nameOf(fn)}</Link> },
  { head: "Version", cell: ({ version, split }) => versionOf(version, split) },
  { head: "Methods", cell: ({ methods }) => (methods.length === 0 ? "any" : methods.join(", ")) },
  {
    head: "Open to",
    cell: ({ auth }) => <Status value={auth === "key" ? "callers with a key" : "everyone"} tone="plain" />,
  },
  { head: "Asynchronous", cell: ({ async: isAsync }) => (isAsync ? "yes" : "no") },
  { head: "Rate limit", cell: ({ rate_limit: limit }) => limitOf(limit) },
  { head: "CORS", cell: ({ cors }) => (cors === null ? "no" : "yes") },
  {
    head: "Largest request",
    numeric: true,
    cell: ({ max_request_bytes: most }) => (most === null ? "–" : bytes(most)),
  },
];

/** The routes: addresses that lead to functions. */
export function RoutesPage() {
  const [trail, setTrail] = useState<readonly string[]>([]);
  const path = withQuery("/v1/routes", { limit: PAGE_SIZE, cursor: trail.at(-1) });
  const { data, error, reload } = useData<{ routes: readonly Route[]; next_cursor: string | null }>(path);
  return (
    <Page title="Routes">
      <Problem error={error} onRetry={reload} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.routes.length === 0 ? (
        <Empty title="No routes yet">
          A route gives a function an address below /r, or a host of its own: <code>POST /v1/routes</code>, or the file
          of <code>slipway apply</code>. <a href="/docs/routes">The manual</a> says how.
        </Empty>
      ) : (
        <Table label="Routes" columns={COLUMNS} rows={data.routes} keyOf={({ id }) => id} />
      )}
      <Pager trail={trail} next={data?.next_cursor} onTurn={setTrail} />
    </Page>
  );
}

function versionOf(version: Route["version"], split: Route["split"]): string {
  const main = version === null ? "current" : String(version);
  return split === null ? main : `${main}; ${count(split.percent)} % get ${count(split.version)}`;
}

function limitOf(limit: Route["rate_limit"]): string {
  return limit === null ? "none" : `${count(limit.requests)} in ${duration(limit.window_ms)} by ${limit.by}`;
}
