import { useContext, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import type { InvocationPage } from "../../../domain/calls/invocations.ts";
import { withQuery } from "../../data/api.ts";
import { SessionContext, useRights } from "../../data/session.ts";
import { useData } from "../../data/use-data.ts";
import { Empty, Loading, Problem } from "../../parts/notices.tsx";
import { Page, Section } from "../../parts/page.tsx";
import { CallForm } from "../function/call-form.tsx";
import { InvocationTable } from "../invocation/invocation-table.tsx";
import { Charts } from "../figures/charts.tsx";
import { Now } from "./now.tsx";
import { RangeChoice, type Range } from "../figures/range.tsx";

const RECENT_MS = 5_000;

/** The state of the server and its calls, at a glance. */
export function OverviewPage() {
  const { records, catalogue } = useRights();
  const [range, setRange] = useState<Range>("hour");
  if (!records) return catalogue ? <Deployer /> : <Caller />;
  return (
    <Page title="Overview" actions={<RangeChoice range={range} onChange={setRange} />}>
      <Now />
      <Charts range={range} />
      <Failures />
    </Page>
  );
}

function Failures() {
  const { deploy } = useRights();
  const { data, error } = useData<InvocationPage>(withQuery("/v1/invocations", { limit: 10 }), RECENT_MS);
  return (
    <Section title="Latest invocations" actions={<Link href="/invocations">All invocations</Link>}>
      <Problem error={error} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.invocations.length === 0 ? (
        <Empty title="No calls yet">
          Register a function (<code>slipway deploy</code>,{" "}
          {deploy ? <Link href="/deploy">deploy an image</Link> : "a form"}, or POST /v1/functions), then call it: it
          shows up here.
        </Empty>
      ) : (
        <InvocationTable label="Latest invocations" invocations={data.invocations} />
      )}
    </Section>
  );
}

/** The overview of a key that may change functions, and see no records. */
function Deployer() {
  return (
    <Page title="Overview">
      <Empty title="Your key may change functions, and not read the records of calls">
        <Link href="/functions">Functions</Link>, <Link href="/routes">routes</Link> and{" "}
        <Link href="/schedules">schedules</Link> are here. Figures and invocations need a key with the scope “read”.
      </Empty>
    </Page>
  );
}

/** The overview of a key that may only call functions. */
function Caller() {
  const { function_id } = useContext(SessionContext);
  return (
    <Page title="Overview">
      <Empty title="Your key may call functions, and nothing else">
        Their records and logs need a key with the scope “read”.
      </Empty>
      <Section title="Call a function">
        <CallForm name={function_id ?? undefined} />
      </Section>
    </Page>
  );
}
