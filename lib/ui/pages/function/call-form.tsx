import { useState } from "preact/hooks";
import { ApiError, segment, send, withQuery } from "../../data/api.ts";
import { useRights } from "../../data/session.ts";
import { Body, type Message, readMessage } from "../../parts/body.tsx";
import { Problem } from "../../parts/notices.tsx";
import { InvocationLink } from "../invocation/invocation-table.tsx";
import { ServerTiming } from "./server-timing.tsx";

interface Outcome {
  readonly message?: Message;
  readonly error?: ApiError;
  readonly id?: string;
  readonly timing?: string;
}

/** Calls a function with a body and headers, and shows its answer with where the time went. */
export function CallForm({ name }: { readonly name: string | undefined }) {
  const [target, setTarget] = useState(name ?? "");
  const [body, setBody] = useState("{}");
  const [headers, setHeaders] = useState("Content-Type: application/json");
  const [isAsync, setAsync] = useState(false);
  const [busy, setBusy] = useState(false);
  const [outcome, setOutcome] = useState<Outcome>({});
  const submit = (event: Event) => {
    event.preventDefault();
    setBusy(true);
    call({ target, body, headers, isAsync }).then(
      (after) => {
        setOutcome(after);
        setBusy(false);
      },
      () => setBusy(false),
    );
  };
  return (
    <div class="try">
      <form class="card" onSubmit={submit}>
        {name !== undefined ? null : (
          <label class="field">
            <span>Function (name or id)</span>
            <input required value={target} onInput={(event) => setTarget(event.currentTarget.value)} />
          </label>
        )}
        <label class="field">
          <span>Body</span>
          <textarea rows={8} spellcheck={false} value={body} onInput={(event) => setBody(event.currentTarget.value)} />
        </label>
        <label class="field">
          <span>Headers, one a line</span>
          <textarea
            rows={3}
            spellcheck={false}
            value={headers}
            onInput={(event) => setHeaders(event.currentTarget.value)}
          />
        </label>
        <label class="check">
          <input type="checkbox" checked={isAsync} onChange={(event) => setAsync(event.currentTarget.checked)} />
          Asynchronous: queue the call and answer at once
        </label>
        <button type="submit" class="primary" disabled={busy || target === ""}>
          {busy ? "Calling…" : "Call"}
        </button>
      </form>
      <Result outcome={outcome} />
    </div>
  );
}

function Result({ outcome: { message, error, id, timing } }: { readonly outcome: Outcome }) {
  const { records } = useRights();
  return (
    <div class="result" role="status" aria-label="Answer">
      <Problem error={error} />
      {message === undefined && error === undefined ? (
        <p class="quiet">The answer comes here, with where its time went.</p>
      ) : null}
      {timing === undefined ? null : <ServerTiming header={timing} />}
      {message === undefined ? null : <Body message={message} />}
      {id === undefined || !records ? null : (
        <p>
          Its record: <InvocationLink id={id} />
        </p>
      )}
    </div>
  );
}

async function call(asked: {
  readonly target: string;
  readonly body: string;
  readonly headers: string;
  readonly isAsync: boolean;
}): Promise<Outcome> {
  const path = withQuery(`/v1/functions/${segment(asked.target)}/invoke`, { async: asked.isAsync ? "true" : "" });
  try {
    const response = await send(path, { method: "POST", body: asked.body, headers: headersIn(asked.headers) });
    const id = response.headers.get("x-request-id");
    const timing = response.headers.get("server-timing");
    const message = await readMessage(response);
    return { message, ...(id !== null && { id }), ...(timing !== null && { timing }) };
  } catch (error) {
    if (error instanceof ApiError) return { error };
    return { error: new ApiError(String(error), { status: 0, reason: "invalid_request" }) };
  }
}

/** Reads headers, one a line. Throws an `ApiError` that says which line is none. */
function headersIn(text: string): Record<string, string> {
  const headers = new Headers();
  for (const line of text.split("\n").filter((one) => one.trim() !== "")) {
    const colon = line.indexOf(":");
    try {
      if (colon < 1) throw new TypeError("no colon");
      headers.append(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
    } catch {
      const message = `This line is no header: ${JSON.stringify(line)}. Write it as "Name: value".`;
      throw new ApiError(message, { status: 0, reason: "invalid_request" });
    }
  }
  return Object.fromEntries(headers);
}
