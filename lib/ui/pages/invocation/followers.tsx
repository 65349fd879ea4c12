import type { Invocation, InvocationPage } from "../../../domain/calls/invocations.ts";
import { withQuery } from "../../data/api.ts";
import { useData } from "../../data/use-data.ts";
import { Empty, Loading, Problem } from "../../parts/notices.tsx";
import { Section } from "../../parts/page.tsx";
import { InvocationLink, InvocationTable } from "./invocation-table.tsx";

const FRESH_MS = 5_000;

/** The chain that an asynchronous call is part of: the one that caused it, and those that its end caused. */
export function Followers({ record: { id, parent_id, finished_at } }: { readonly record: Invocation }) {
  const { data, error } = useData<InvocationPage>(withQuery("/v1/invocations", { parent_id: id, limit: 20 }), FRESH_MS);
  const followers = data?.invocations ?? [];
  return (
    <Section title="Chain">
      <Problem error={error} />
      {parent_id === null ? null : (
        <p>
          The end of invocation <InvocationLink id={parent_id} /> caused this one.
        </p>
      )}
      {followers.length > 0 ? (
        <InvocationTable label="Followers" invocations={followers} />
      ) : data === undefined ? (
        error === undefined && <Loading />
      ) : (
        <Empty title={finished_at === null ? "Nothing has followed yet" : "Nothing followed"}>
          The functions that a function names in <code>on_success</code> and <code>on_failure</code> are called with its
          result, and listed here.
        </Empty>
      )}
    </Section>
  );
}
