import { useState } from "preact/hooks";
import { Link, useSearchParams } from "wouter-preact";
import type { FunctionWithPool, PoolState } from "../../../domain/functions/functions.ts";
import type { InvocationPage } from "../../../domain/calls/invocations.ts";
import { segment, withQuery } from "../../data/api.ts";
import { functionPath, nameOf } from "../../data/functions.ts";
import { useRights } from "../../data/session.ts";
import { useData } from "../../data/use-data.ts";
import { count } from "../../format/numbers.ts";
import { Figure } from "../../parts/facts.tsx";
import { Empty, Loading, Problem } from "../../parts/notices.tsx";
import { Page, Section } from "../../parts/page.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { InvocationTable } from "../invocation/invocation-table.tsx";
import { Charts } from "../figures/charts.tsx";
import { type Range, RangeChoice } from "../figures/range.tsx";
import { Change } from "./change.tsx";
import { CallForm } from "./call-form.tsx";
import { LiveLogs } from "./live-logs.tsx";
import { Settings } from "./settings.tsx";
import { Versions } from "./versions.tsx";

const FRESH_MS = 2_000;

/** A function: its instances and figures, settings, versions, a form to call it, and its logs as they come. */
export function FunctionPage({ name }: { readonly name: string }) {
  const { data: fn, error, reload } = useData<FunctionWithPool>(`/v1/functions/${segment(name)}`, FRESH_MS);
  const [params] = useSearchParams();
  const { records, invoke, deploy } = useRights();
  const tabs = [
    ["", "Now"],
    ["settings", "Settings"],
    ["versions", "Versions"],
    ...(deploy ? [["change", "New version"] as const] : []),
    ...(invoke ? [["try", "Try it"] as const] : []),
    ...(records ? [["logs", "Logs"] as const] : []),
  ] as const;
  const asked = params.get("tab") ?? "";
  const tab = tabs.some(([id]) => id === asked) ? asked : "";
  const above = <Link href="/functions">Functions</Link>;
  if (fn === undefined) {
    return (
      <Page title={name} above={above}>
        {error === undefined ? <Loading /> : <Problem error={error} onRetry={reload} />}
      </Page>
    );
  }
  return (
    <Page title={nameOf(fn)} above={above}>
      <p class="under">
        <code>{fn.image}</code>
      </p>
      <Tabs label="Parts of the function" path={(id) => functionPath(name, id)} tabs={tabs} current={tab} />
      <Problem error={error} />
      {tab === "" ? <Now fn={fn} /> : null}
      {tab === "settings" ? <Settings fn={fn} /> : null}
      {tab === "versions" ? <Versions fn={fn} onChange={reload} /> : null}
      {tab === "change" ? <Change fn={fn} onChange={reload} /> : null}
      {tab === "try" ? <CallForm name={fn.name ?? fn.id} /> : null}
      {tab === "logs" ? <LiveLogs function_id={fn.id} /> : null}
    </Page>
  );
}

function Now({ fn }: { readonly fn: FunctionWithPool }) {
  const { records } = useRights();
  const [range, setRange] = useState<Range>("hour");
  return (
    <>
      <Section title="Instances">
        <Pool pool={fn.pool} label={`Version ${fn.version}, current`} />
        {fn.version_pools.map((pool) => (
          <Pool key={pool.version} pool={pool} label={`Version ${pool.version}`} />
        ))}
      </Section>
      {records ? (
        <>
          <Section title="Calls" actions={<RangeChoice range={range} onChange={setRange} />}>
            <Charts range={range} function_id={fn.id} />
          </Section>
          <Latest function_id={fn.id} />
        </>
      ) : null}
    </>
  );
}

function Pool({ pool, label }: { readonly pool: PoolState; readonly label: string }) {
  return (
    <>
      {pool.problem === undefined ? null : (
        <div class="notice bad" role="alert">
          <strong>{label}: the last start of an instance failed</strong>
          <p>{pool.problem}</p>
        </div>
      )}
      <div class="figures" role="group" aria-label={label}>
        <Figure name="Busy" value={count(pool.busy)} note={label} />
        <Figure name="Ready" value={count(pool.ready)} note={`target ${pool.target}`} />
        <Figure name="Starting" value={count(pool.starting + (pool.booting ?? 0))} note="not ready yet" />
        {pool.streams === undefined ? null : <Figure name="Calls in them" value={count(pool.streams)} />}
      </div>
    </>
  );
}

function Latest({ function_id }: { readonly function_id: string }) {
  const path = withQuery("/v1/invocations", { function_id, limit: 10 });
  const { data, error } = useData<InvocationPage>(path, 5_000);
  const all = `/invocations?function=${encodeURIComponent(function_id)}`;
  return (
    <Section title="Latest invocations" actions={<Link href={all}>All of them</Link>}>
      <Problem error={error} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : data.invocations.length === 0 ? (
        <Empty title="No calls yet">The tab “Try it” makes one.</Empty>
      ) : (
        <InvocationTable label="Latest invocations" invocations={data.invocations} withFunction={false} />
      )}
    </Section>
  );
}
