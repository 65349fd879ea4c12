import { useContext } from "preact/hooks";
import { useLocation } from "wouter-preact";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import { ask, segment } from "../../data/api.ts";
import { SessionContext, useRights } from "../../data/session.ts";
import { useAction } from "../../data/use-action.ts";
import { Confirm } from "../../parts/confirm.tsx";
import { Done, Problem } from "../../parts/notices.tsx";

/** The actions on a call: to cancel it, or run it again. A key without `admin` may do that to its own calls. */
export function Actions({ record }: { readonly record: Invocation }) {
  const { invoke, admin } = useRights();
  const { key } = useContext(SessionContext);
  const [, navigate] = useLocation();
  const action = useAction();
  if (!invoke || !(admin || record.key_id === key?.id)) return null;
  const path = `/v1/invocations/${segment(record.id)}`;
  const isOpen = record.mode === "async" && (record.status === "queued" || record.status === "running");
  const cancel = () =>
    action.run(async () => {
      await ask(`${path}/cancel`, { method: "POST" });
      return "Cancelled.";
    });
  const replay = () =>
    action.run(async () => {
      const made = await ask<Invocation>(`${path}/replay`, { method: "POST" });
      navigate(`/invocations/${made.id}`);
      return "";
    });
  return (
    <>
      {isOpen ? (
        <Confirm
          label="Cancel"
          danger
          disabled={action.busy}
          question="Cancel this invocation? A running function is killed at once."
          onYes={cancel}
        />
      ) : (
        <button type="button" disabled={action.busy} onClick={replay}>
          Replay
        </button>
      )}
      <Done>{action.done}</Done>
      <Problem error={action.error} />
    </>
  );
}
