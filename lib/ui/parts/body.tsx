import { bytes } from "../format/numbers.ts";
import { Facts } from "./facts.tsx";

/** An answer as a page shows it. */
export interface Message {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The body as text, cut at `SHOWN_BYTES`; undefined if it is none. */
  readonly text: string | undefined;
  readonly size: number;
  /** The reason of the server itself, if it was not the function that answered. */
  readonly own_reason: string | undefined;
}

/** The most of a body that is shown. */
const SHOWN_BYTES = 128 * 1024;

/** Reads an answer for a page: text if it is UTF-8. */
export async function readMessage(response: Response): Promise<Message> {
  const body = new Uint8Array(await response.arrayBuffer());
  const text = textOf(body);
  return {
    status: response.status,
    headers: [...response.headers],
    text: text?.slice(0, SHOWN_BYTES),
    size: body.length,
    own_reason: response.ok ? undefined : reasonIn(text),
  };
}

function textOf(body: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return undefined;
  }
}

function reasonIn(text: string | undefined): string | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "");
    if (value === null || typeof value !== "object" || !("reason" in value) || !("request_id" in value))
      return undefined;
    return typeof value.reason === "string" ? value.reason : undefined;
  } catch {
    return undefined;
  }
}

/** Headers that say something about this connection, and nothing about the function's answer. */
const UNSHOWN: ReadonlySet<string> = new Set(["content-security-policy", "x-content-type-options", "date"]);

/** An answer: status, headers and body, as text whatever it is. */
export function Body({ message }: { readonly message: Message }) {
  const { status, headers, text, size } = message;
  return (
    <div class="message">
      <p>
        <strong class={status < 400 ? "status good" : "status bad"}>{status}</strong> <span>{bytes(size)}</span>
      </p>
      <details>
        <summary>Headers</summary>
        <Facts facts={headers.filter(([name]) => !UNSHOWN.has(name))} />
      </details>
      <Content text={text} size={size} />
    </div>
  );
}

/** A body as text; JSON with a line for each member. */
export function Content({ text, size }: { readonly text: string | undefined; readonly size: number }) {
  if (size === 0) return <p class="quiet">The body is empty.</p>;
  if (text === undefined) return <p class="quiet">The body is not text ({bytes(size)}).</p>;
  return (
    <>
      <pre tabIndex={0} aria-label="Body">
        <code>{indented(text)}</code>
      </pre>
      {text.length < size && size > SHOWN_BYTES ? <p class="quiet">Only the beginning is shown.</p> : null}
    </>
  );
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
