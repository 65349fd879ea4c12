import { useCallback, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import type { Function } from "../../domain/functions/functions.ts";
import { withQuery } from "../data/api.ts";
import { functionPath, type FunctionPage, nameOf } from "../data/functions.ts";
import { useRights } from "../data/session.ts";
import { useData } from "../data/use-data.ts";
import { bytes, duration } from "../format/numbers.ts";
import { Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { Search } from "../parts/search.tsx";
import { type Column, Pager, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";

const PAGE_SIZE = 50;

const COLUMNS: readonly Column<Function>[] = [
  { head: "Name", cell: (fn) => <Link href={functionPath(fn.name ?? fn.id)}>{nameOf(fn)}</Link> },
  { head: "Image", wide: true, cell: ({ image }) => <code title={image}>{shortImage(image)}</code> },
  { head: "Contract", cell: ({ contract }) => contract },
  { head: "Isolation", cell: ({ isolation }) => isolation },
  { head: "Memory", numeric: true, cell: ({ memory_bytes }) => bytes(memory_bytes) },
  { head: "Timeout", numeric: true, cell: ({ timeout_ms }) => duration(timeout_ms) },
  { head: "Version", numeric: true, cell: ({ version }) => version },
  { head: "Changed", numeric: true, cell: ({ updated_at }) => <Time at={updated_at} /> },
];

/** The list of functions, page by page, and a search by name, image or id. */
export function FunctionsPage() {
  const { deploy } = useRights();
  const [search, setSearch] = useState("");
  const [trail, setTrail] = useState<readonly string[]>([]);
  const find = useCallback((text: string) => {
    setSearch(text);
    setTrail([]);
  }, []);
  const path = withQuery("/v1/functions", { limit: PAGE_SIZE, search: search.trim(), cursor: trail.at(-1) });
  const { data, error, reload } = useData<FunctionPage>(path);
  return (
    <Page title="Functions" actions={deploy ? <DeployLink /> : undefined}>
      <div class="filters" role="search">
        <Search label="Search by name, image or id" value={search} onChange={find} />
      </div>
      <Problem error={error} onRetry={reload} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.functions.length === 0 ? (
        <NoFunctions search={search} />
      ) : (
        <Table label="Functions" columns={COLUMNS} rows={data.functions} keyOf={({ id }) => id} />
      )}
      <Pager trail={trail} next={data?.next_cursor} onTurn={setTrail} />
    </Page>
  );
}

function DeployLink() {
  return (
    <Link class="button" href="/deploy">
      Deploy an image
    </Link>
  );
}

function NoFunctions({ search }: { readonly search: string }) {
  const { deploy } = useRights();
  if (search !== "")
    return <Empty title="No function matches">Try a part of its name, of its image or of its id.</Empty>;
  return (
    <Empty title="No functions yet">
      <p>In a folder with your code:</p>
      <pre>
        <code>slipway deploy</code>
      </pre>
      <p>
        Or {deploy ? <Link href="/deploy">deploy an image</Link> : "register an image"} with{" "}
        {deploy ? "a form, or with " : ""}
        <code>POST /v1/functions</code>; <a href="/docs/functions">the manual</a> says how.
      </p>
    </Empty>
  );
}

/** The end of an image's name says most: its repository and tag, without the registry and the groups before it. */
function shortImage(image: string): string {
  const last = image.lastIndexOf("/");
  return last === -1 ? image : `…${image.slice(last)}`;
}
