import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import { eventually } from "../../../support/pace.ts";

/** Each has one call under way at most. */
export const CLIENTS = 4;
/** Longer than an invocation waits for another server and runs there. */
const LONG_MS = 120_000;

/** A function behind a load balancer, and the key to call it with. */
export interface Target {
  readonly url: string;
  readonly key: string;
  readonly id: string;
}

/** The outcome of a call. */
export interface Outcome {
  /** The status; null if the connection ended without an answer. */
  readonly status: number | null;
  /** The answer's body, or the error. */
  readonly text: string;
  readonly ms: number;
}

interface LoadOptions {
  /** The pause of a client after each call, in milliseconds. */
  readonly pause_ms?: number;
  /** More of the body of a client's call, by the client's number and that of the call. */
  readonly more?: (client: number, n: number) => object;
}

/** Clients that call a function over and over, one in four times asynchronously. */
export class Load {
  /** The invocations whose 202 arrived. */
  readonly submitted: string[] = [];
  readonly failures: Outcome[] = [];
  /** The milliseconds that each answer took. */
  readonly times: number[] = [];
  /** Synchronous calls with the right answer. */
  answered = 0;
  readonly #target: Target;
  readonly #options: LoadOptions;
  readonly #clients: Promise<unknown>;
  #isStopped = false;

  constructor(target: Target, options: LoadOptions = {}) {
    this.#target = target;
    this.#options = options;
    this.#clients = Promise.all(Array.from({ length: CLIENTS }, (_, client) => this.#run(client)));
  }

  /** Calls nothing more, and resolves when the last call has been answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#clients;
  }

  async #run(client: number): Promise<void> {
    const { more, pause_ms = 0 } = this.#options;
    for (let n = 0; !this.#isStopped; n++) {
      await this.#call(JSON.stringify({ client, n, ...more?.(client, n) }), n % 4 === 0);
      if (pause_ms > 0) await Bun.sleep(pause_ms);
    }
  }

  async #call(body: string, isLater: boolean): Promise<void> {
    const { status, text, ms } = await call(this.#target, body, isLater);
    this.times.push(ms);
    if (isLater && status === 202) this.submitted.push(idIn(text));
    else if (!isLater && status === 200 && text === body) this.answered++;
    else this.failures.push({ status, text: text.slice(0, 200), ms });
  }
}

/** Calls a function, or submits a call. */
export async function call({ url, key, id }: Target, body: string, isLater: boolean): Promise<Outcome> {
  const path = `${url}/v1/functions/${id}/invoke${isLater ? "?async=true" : ""}`;
  const begun = performance.now();
  try {
    const response = await fetch(path, { method: "POST", headers: { authorization: `Bearer ${key}` }, body });
    const text = await response.text();
    return { status: response.status, text, ms: performance.now() - begun };
  } catch (error) {
    return { status: null, text: String(error), ms: performance.now() - begun };
  }
}

/** Submits a call and returns the id of the invocation; anything but 202 throws. */
export async function submit(target: Target, body: string): Promise<string> {
  const { status, text } = await call(target, body, true);
  if (status !== 202) throw new Error(`not submitted: ${status} ${text}`);
  return idIn(text);
}

function idIn(text: string): string {
  return (JSON.parse(text) as { data: Invocation }).data.id; // an envelope
}

/** Waits until invocations have ended, and returns how often each status is among them. */
export async function endsOf({ url, key }: Target, ids: readonly string[]): Promise<Record<string, number>> {
  const ends: Record<string, number> = {};
  for (const id of ids) {
    let status = "";
    const isOver = async () => {
      const response = await fetch(`${url}/v1/invocations/${id}`, { headers: { authorization: `Bearer ${key}` } });
      status = response.ok ? ((await response.json()) as { data: Invocation }).data.status : ""; // an envelope
      return !["", "queued", "running"].includes(status);
    };
    await eventually(isOver, LONG_MS);
    ends[status] = (ends[status] ?? 0) + 1;
  }
  return ends;
}
