import { useEffect, useState } from "preact/hooks";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import { ApiError, send } from "../../data/api.ts";
import { Body, type Message, readMessage } from "../../parts/body.tsx";
import { Empty, Loading, Problem } from "../../parts/notices.tsx";

/** The function's answer, if it was kept. */
export function Answer({ record }: { readonly record: Invocation }) {
  const [message, setMessage] = useState<Message>();
  const [error, setError] = useState<ApiError>();
  const isOver = record.finished_at !== null;
  useEffect(() => {
    if (!isOver) return;
    const abort = new AbortController();
    // The answer is the function's own, whatever its status.
    send(`/v1/invocations/${encodeURIComponent(record.id)}/result`, { signal: abort.signal })
      .then(readMessage)
      .then(setMessage, (problem: unknown) => problem instanceof ApiError && setError(problem));
    return () => abort.abort();
  }, [record.id, isOver]);
  if (error !== undefined) return <Problem error={error} />;
  if (!isOver) return <Empty title="Not yet">The answer is here when the function has ended.</Empty>;
  if (message === undefined) return <Loading />;
  if (message.own_reason === "not_found") {
    return (
      <Empty title="The answer was not kept">
        Answers of asynchronous calls are kept; those of others with the setting <code>record_bodies</code>.
      </Empty>
    );
  }
  return <Body message={message} />;
}
