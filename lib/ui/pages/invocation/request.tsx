import type { Invocation } from "../../../domain/calls/invocations.ts";
import type { KeptRequest } from "../../../domain/calls/views/kept-requests.ts";
import { segment } from "../../data/api.ts";
import { useData } from "../../data/use-data.ts";
import { bytes } from "../../format/numbers.ts";
import { Content } from "../../parts/body.tsx";
import { Facts } from "../../parts/facts.tsx";
import { Empty, Loading, Problem } from "../../parts/notices.tsx";

/** The request of a call, if it was kept. */
export function Request({ record }: { readonly record: Invocation }) {
  const { data, error } = useData<KeptRequest>(`/v1/invocations/${segment(record.id)}/request`);
  if (error?.status === 404) return <NotKept record={record} />;
  if (data === undefined) return error === undefined ? <Loading /> : <Problem error={error} />;
  const { method, url, headers, body, encoding, body_bytes } = data;
  return (
    <div class="message">
      <p>
        <strong>{method}</strong> <code>{url}</code> <span>{bytes(body_bytes)}</span>
      </p>
      <details>
        <summary>Headers</summary>
        <Facts facts={Object.entries(headers)} />
      </details>
      <Content text={encoding === "utf-8" ? body : undefined} size={body_bytes} />
    </div>
  );
}

function NotKept({ record: { mode, request_bytes } }: { readonly record: Invocation }) {
  return (
    <Empty title="The request was not kept">
      {mode === "sync" ? (
        <>
          This call was synchronous, and its body of {bytes(request_bytes)} went to the function only. With the setting{" "}
          <code>record_bodies</code> requests and answers of such calls are kept, too.
        </>
      ) : (
        <>
          It had to make room for newer ones: all that is kept takes at most <code>QUEUE_BYTES</code>.
        </>
      )}
    </Empty>
  );
}
