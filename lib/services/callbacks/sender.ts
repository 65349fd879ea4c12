import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import type { Clock } from "../../clock.ts";
import { addressBytes, type Allowed, mayBeCalled } from "../../domain/addresses.ts";
import { literalAddress, notPublic, plainName } from "../../domain/calls/callbacks.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import { CALLBACK } from "../../domain/limits.ts";

/**
 * The result of an attempt to send a callback: the status of the answer, or the reason why there was none. `detail` is the
 * reason with addresses that a name resolved to, for the server's log only.
 */
export type Sent =
  | {
      readonly status: number;
      /** The `Retry-After` of the answer, if it has one. */
      readonly retry_after?: string;
    }
  | { readonly problem: string; readonly detail?: string };

/** Returns all addresses of a host name. */
export type Resolve = (hostname: string) => Promise<readonly string[]>;

interface SenderDeps {
  /** The addresses that callbacks may reach besides public ones. */
  readonly allowed: Allowed;
  readonly clock: Clock;
  readonly user_agent: string;
  /** The time limit of an attempt, in milliseconds. */
  readonly timeout_ms: number;
  /** Resolves a host name; by default the system does. */
  readonly resolve?: Resolve;
}

/**
 * Sends callbacks. A `callback_url` must not give its author access to what only this machine can reach: a name is resolved
 * once, all of its addresses must be public (or allowed), and the connection goes to just those, so that a name that leads
 * elsewhere the next moment gains nothing. Redirects are not followed.
 */
export class CallbackSender {
  readonly #deps: SenderDeps;

  constructor(deps: SenderDeps) {
    this.#deps = deps;
  }

  /** Posts JSON, or what `headers` say, within the time that an attempt may take; never throws. Ends at once when `signal` aborts. */
  async send(
    url: string,
    {
      headers,
      body,
      signal,
    }: { headers: Readonly<Record<string, string>>; body: string | Uint8Array; signal: AbortSignal },
  ): Promise<Sent> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const { clock, timeout_ms } = this.#deps;
    const cancel = clock.after(timeout_ms, () =>
      reject(new Error(`There was no answer within ${timeout_ms / 1000} s`)),
    );
    const forget = onAbort(signal, () => reject(new Error("The server stopped")));
    // If the answer comes first, nobody handles this one.
    late.catch(() => undefined);
    const target = new URL(url);
    let addresses: readonly string[] = [];
    try {
      addresses = await Promise.race([this.#addresses(target), late]);
      const length = String(Buffer.byteLength(body));
      const fields = {
        "content-type": "application/json",
        "content-length": length,
        "user-agent": this.#deps.user_agent,
      };
      const options = { method: "POST", headers: { ...fields, ...headers, connection: "close" } };
      return await post(target, addresses, options, body, late);
    } catch (error) {
      return problemOf(error, target, addresses);
    } finally {
      cancel();
      forget();
    }
  }

  /** Returns the addresses to connect to. Throws if one of them is refused. */
  async #addresses(url: URL): Promise<readonly string[]> {
    const name = plainName(url.hostname);
    const literal = literalAddress(url);
    const addresses = literal === undefined ? await (this.#deps.resolve ?? resolveBySystem)(url.hostname) : [literal];
    if (addresses.length === 0) throw new Error(`${url.hostname} has no address`);
    const refused = addresses.find((address) => !mayBeCalled(address, this.#deps.allowed));
    if (refused !== undefined && !this.#deps.allowed.names.has(name)) throw new RefusedAddress(url, refused);
    return addresses;
  }
}

async function resolveBySystem(hostname: string): Promise<readonly string[]> {
  const { lookup } = await import("node:dns/promises");
  return (await lookup(hostname, { all: true })).map(({ address }) => address);
}

/** Posts, and resolves once the answer has been read up to its limit. `late` ends it. */
async function post(
  url: URL,
  addresses: readonly string[],
  options: RequestOptions,
  body: string | Uint8Array,
  late: Promise<never>,
): Promise<Sent> {
  // Loaded when needed: each takes 3 ms, too much for the start.
  const { request } = await (url.protocol === "https:" ? import("node:https") : import("node:http"));
  const found = addresses.map((address) => ({ address, family: addressBytes(address)?.length === 4 ? 4 : 6 }));
  const sent = request(url, {
    ...options,
    // A connection of its own: not one that was made to another address, and not by the proxy of an agent.
    agent: false,
    // Not called for an address in the URL itself.
    lookup: (_hostname, _options, callback) => callback(null, found),
  });
  try {
    sent.end(body);
    const answer = await Promise.race([answerOf(sent), late]);
    // Only its head matters.
    await Promise.race([discarded(answer), late]).catch(() => undefined);
    const retry_after = answer.headers["retry-after"];
    return { status: answer.statusCode ?? 0, ...(retry_after !== undefined && { retry_after }) };
  } finally {
    sent.destroy();
  }
}

function answerOf(sent: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  sent.on("response", resolve);
  sent.on("error", reject);
  sent.on("close", () => reject(new Error("The connection was closed before there was an answer")));
  return promise;
}

/** Reads an answer up to its limit, and discards it. */
async function discarded(answer: IncomingMessage): Promise<void> {
  let bytes = 0;
  for await (const chunk of answer) {
    bytes += (chunk as Buffer).length; // no encoding is set
    if (bytes > CALLBACK.answer_bytes) return;
  }
}

/** Thrown for a host that leads to an address that must not be called. */
class RefusedAddress extends Error {
  readonly address: string;

  constructor(url: URL, address: string) {
    super(notPublic(url));
    this.address = address;
  }
}

/**
 * Returns the problem of an attempt that failed. Connections to several addresses fail with an error for each: this takes
 * the first. The errors of the system name addresses; the problem names the host in their place.
 */
function problemOf(error: unknown, url: URL, addresses: readonly string[]): Sent {
  if (error instanceof RefusedAddress) {
    const problem = error.message;
    return literalAddress(url) === undefined ? { problem, detail: `${problem}: ${error.address}` } : { problem };
  }
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const detail = messageOf(first);
  // The longest first: one may be the beginning of another.
  const known = addresses.toSorted((a, b) => b.length - a.length);
  const problem = known.reduce((text, address) => text.replaceAll(address, url.hostname), detail);
  return problem === detail ? { problem } : { problem, detail };
}
