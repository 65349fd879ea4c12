import { useState } from "preact/hooks";
import type { Invocation, InvocationPage } from "../../domain/calls/invocations.ts";
import { ask, segment, withQuery } from "../data/api.ts";
import { useRights } from "../data/session.ts";
import { useAction } from "../data/use-action.ts";
import { useData } from "../data/use-data.ts";
import { count } from "../format/numbers.ts";
import { Confirm } from "../parts/confirm.tsx";
import { Done, Empty, Loading, Problem } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { Search } from "../parts/search.tsx";
import { type Column, Pager } from "../parts/table.tsx";
import { InvocationTable } from "./invocation/invocation-table.tsx";

const PAGE_SIZE = 50;

const EXPLAINED =
  "Asynchronous calls whose attempts have all failed. Fix the function, then run them again: each replay is a new invocation with the same request.";

/** Asynchronous calls that failed for good: look at them, and run one, some or all of them again. */
export function DeadLettersPage() {
  const [fn, setFunction] = useState("");
  const [trail, setTrail] = useState<readonly string[]>([]);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const { invoke, admin } = useRights();
  const path = withQuery("/v1/invocations", {
    status: "dead",
    limit: PAGE_SIZE,
    function_id: fn,
    cursor: trail.at(-1),
  });
  const { data, error, reload } = useData<InvocationPage>(path);
  const shown = data?.invocations ?? [];
  const mayReplay = invoke || admin;
  return (
    <Page title="Dead letters">
      <p class="quiet">{EXPLAINED}</p>
      <div class="filters" role="search">
        <Search
          label="Function (name or id)"
          value={fn}
          onChange={(text) => {
            setFunction(text);
            setTrail([]);
          }}
        />
        {mayReplay && shown.length > 0 ? (
          <Replays
            fn={fn}
            chosen={[...chosen]}
            onDone={() => {
              setChosen(new Set());
              reload();
            }}
          />
        ) : null}
      </div>
      <Problem error={error} onRetry={reload} />
      {data === undefined ? (
        error === undefined && <Loading />
      ) : shown.length === 0 ? (
        <Empty title="No dead letters">
          {fn === "" ? "Every asynchronous call has succeeded, or is still being tried." : "This function has none."}
        </Empty>
      ) : (
        <InvocationTable label="Dead letters" invocations={shown} more={mayReplay ? [boxes(chosen, setChosen)] : []} />
      )}
      <Pager trail={trail} next={data?.next_cursor} onTurn={setTrail} />
    </Page>
  );
}

/** A column of boxes that choose what is replayed. */
function boxes(chosen: ReadonlySet<string>, onChange: (chosen: ReadonlySet<string>) => void): Column<Invocation> {
  return {
    head: "Replay",
    cell: ({ id }) => (
      <input
        type="checkbox"
        aria-label={`Choose invocation ${id}`}
        checked={chosen.has(id)}
        onChange={(event) => {
          const after = new Set(chosen);
          if (event.currentTarget.checked) after.add(id);
          else after.delete(id);
          onChange(after);
        }}
      />
    ),
  };
}

function Replays({
  fn,
  chosen,
  onDone,
}: {
  readonly fn: string;
  readonly chosen: readonly string[];
  readonly onDone: () => void;
}) {
  const action = useAction();
  const some = () =>
    action.run(async () => {
      for (const id of chosen) await ask(`/v1/invocations/${segment(id)}/replay`, { method: "POST" });
      onDone();
      return `${count(chosen.length)} queued again.`;
    });
  const all = () =>
    action.run(async () => {
      const body = { status: "dead", ...(fn !== "" && { function_id: fn }) };
      const { invocations, left } = await ask<{ invocations: Invocation[]; left: number }>("/v1/invocations/replay", {
        method: "POST",
        body,
      });
      onDone();
      return `${count(invocations.length)} queued again${left > 0 ? `, ${count(left)} are left: replay all once more` : ""}.`;
    });
  return (
    <div class="actions">
      <button type="button" disabled={action.busy || chosen.length === 0} onClick={some}>
        Replay chosen ({chosen.length})
      </button>
      <Confirm
        label="Replay all"
        disabled={action.busy}
        question={`Run all dead invocations${fn === "" ? "" : ` of ${fn}`} again that were not replayed yet?`}
        onYes={all}
      />
      <Done>{action.done}</Done>
      <Problem error={action.error} />
    </div>
  );
}
