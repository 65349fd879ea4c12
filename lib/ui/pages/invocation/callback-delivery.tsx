import { useContext } from "preact/hooks";
import type { Callback } from "../../../domain/calls/callbacks.ts";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import { ask, segment } from "../../data/api.ts";
import { SessionContext, useRights } from "../../data/session.ts";
import { useAction } from "../../data/use-action.ts";
import { useData } from "../../data/use-data.ts";
import { Facts } from "../../parts/facts.tsx";
import { Done, Empty, Problem } from "../../parts/notices.tsx";
import { Section } from "../../parts/page.tsx";
import { Status } from "../../parts/status.tsx";
import { Time } from "../../parts/time.tsx";

/** The way of a result to its `callback_url`. */
export function CallbackDelivery({ record }: { readonly record: Invocation }) {
  const isOver = record.finished_at !== null;
  const path = `/v1/invocations/${segment(record.id)}/callback`;
  const { data, error, reload } = useData<Callback>(isOver ? path : null, 5_000);
  const { invoke, admin } = useRights();
  const { key } = useContext(SessionContext);
  const action = useAction();
  const again = () =>
    action.run(async () => {
      await ask(path, { method: "POST" });
      reload();
      return "It is sent again.";
    });
  const mayAct = invoke && (admin || record.key_id === key?.id) && data !== undefined && data.state !== "waiting";
  return (
    <Section
      title="Callback"
      actions={
        mayAct ? (
          <button type="button" disabled={action.busy} onClick={again}>
            Send again
          </button>
        ) : null
      }
    >
      <Problem error={action.error ?? (error?.status === 404 ? undefined : error)} />
      <Done>{action.done}</Done>
      {data === undefined ? (
        <Empty title="Not sent yet">The result goes to {record.callback_url} when the invocation has ended.</Empty>
      ) : (
        <Facts
          facts={[
            ["State", <Status key="state" value={data.state} />],
            ["Attempts", data.attempts],
            ["Next attempt", data.next_at === null ? null : <Time key="next" at={data.next_at} />],
            ["Last answer", data.last_status],
            ["Delivered", data.delivered_at === null ? null : <Time key="at" at={data.delivered_at} />],
            ["Address", <code key="url">{data.url}</code>, true],
            ["Last problem", data.last_problem, true],
          ]}
        />
      )}
    </Section>
  );
}
