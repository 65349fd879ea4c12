import { useContext } from "preact/hooks";
import { Link } from "wouter-preact";
import type { Key } from "../../domain/keys.ts";
import { ask, segment } from "../data/api.ts";
import { functionPath } from "../data/functions.ts";
import { SessionContext } from "../data/session.ts";
import { useAction } from "../data/use-action.ts";
import { useData } from "../data/use-data.ts";
import { Confirm } from "../parts/confirm.tsx";
import { Done, Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { Status } from "../parts/status.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time, useNow } from "../parts/time.tsx";

/** The keys by name: what each may do, when it was used, and revoking it. */
export function KeysPage() {
  const { data, error, reload } = useData<readonly Key[]>("/v1/keys");
  const own = useContext(SessionContext).key?.id;
  const now = useNow();
  const action = useAction();
  const revoke = ({ id, name }: Key) =>
    action.run(async () => {
      await ask(`/v1/keys/${segment(id)}`, { method: "DELETE" });
      reload();
      return `${name} was revoked: the key is refused from now on, and logins with it have ended.`;
    });
  const columns: readonly Column<Key>[] = [
    {
      head: "Name",
      wide: true,
      cell: ({ id, name }) => <span title={id}>{id === own ? `${name} (yours)` : name}</span>,
    },
    { head: "State", cell: (key) => <Status value={stateOf(key, now)} /> },
    { head: "Scopes", cell: ({ scopes }) => scopes.join(", ") },
    {
      head: "Function",
      cell: ({ function_id: id }) => (id === null ? "all" : <Link href={functionPath(id)}>{id.slice(0, 8)}</Link>),
    },
    { head: "Used", numeric: true, cell: ({ last_used_at }) => <Time at={last_used_at} /> },
    { head: "Expires", numeric: true, cell: ({ expires_at }) => <Time at={expires_at} /> },
    { head: "Created", numeric: true, cell: ({ created_at }) => <Time at={created_at} /> },
    {
      head: "",
      cell: (key) =>
        stateOf(key, now) !== "active" ? null : (
          <Confirm
            label="Revoke"
            danger
            disabled={action.busy}
            question={`Revoke the key ${key.name}? Whoever uses it is refused from the next request on. This cannot be taken back.`}
            onYes={() => revoke(key)}
          />
        ),
    },
  ];
  return (
    <Page title="Keys">
      <Done>{action.done}</Done>
      <Problem error={action.error ?? error} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.length === 0 ? (
        <Empty title="No keys besides the server's own">
          <code>slipway keys create NAME --scope SCOPE</code> makes one with the scopes that you choose; its token is
          shown once, there and nowhere else.
        </Empty>
      ) : (
        <Table label="Keys" columns={columns} rows={data} keyOf={({ id }) => id} />
      )}
    </Page>
  );
}

function stateOf({ revoked_at, expires_at }: Key, now: number): "revoked" | "expired" | "active" {
  if (revoked_at !== null) return "revoked";
  return expires_at !== null && Date.parse(expires_at) <= now ? "expired" : "active";
}
