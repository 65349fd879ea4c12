import { Type, type Static } from "@sinclair/typebox";
import { addressBytes, addressRange, type Allowed, mayBeCalled } from "../addresses.ts";
import { AppError } from "../errors.ts";
import type { Invocation } from "./invocations.ts";
import { publicMessage } from "./public-message.ts";
import { CALLBACK, CALLBACK_URL_LENGTH } from "../limits.ts";
import { Nullable, Timestamp, timestamp } from "../types.ts";

/** The delivery of a result to its `callback_url`, as it is stored. */
export interface Delivery {
  readonly invocation_id: string;
  readonly url: string;
  /** `waiting` for its next attempt, which may be under way; `delivered` and `failed` are its ends. */
  readonly state: "waiting" | "delivered" | "failed";
  /** The time at which the next attempt is due, in milliseconds since the epoch. */
  readonly due: number;
  /** The time at which the first attempt was due, also when it is sent again; in milliseconds since the epoch. */
  readonly since: number;
  readonly attempts: number;
  readonly last_status: number | null;
  readonly last_problem: string | null;
  readonly created_at: string;
  readonly delivered_at: string | null;
}

/** Returns the delivery that an invocation with a `callback_url` has when it ends; none for one without. */
export function deliveriesOf({ id, callback_url: url }: Invocation, now: number): Delivery[] {
  if (url === null) return [];
  const delivery: Delivery = {
    invocation_id: id,
    url,
    state: "waiting",
    due: now,
    since: now,
    attempts: 0,
    last_status: null,
    last_problem: null,
    created_at: timestamp(now),
    delivered_at: null,
  };
  return [delivery];
}

/** Returns the receiver of a URL, the name under which its callbacks have their turns: host and port. */
export function receiverOf(url: string): string {
  return URL.parse(url)?.host ?? "";
}

/** The answer of `GET /v1/invocations/:id/callback`. */
export const Callback = Type.Object({
  invocation_id: Type.String({
    description: "The invocation; receivers see it as `webhook-id`, the same at each attempt.",
    examples: ["7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
  }),
  url: Type.String({ description: "Where the result is sent.", examples: ["https://example.com/hooks/slipway"] }),
  state: Type.Unsafe<Delivery["state"]>(
    Type.Union(
      (["waiting", "delivered", "failed"] as const).map((state) => Type.Literal(state)),
      {
        description: `\`waiting\` for its next attempt; \`delivered\`: it was answered with 2xx; \`failed\`: it was not for \`CALLBACK_RETRY_FOR\`, or it was answered with 410.`,
        examples: ["delivered"],
      },
    ),
  ),
  attempts: Type.Integer({ description: "Attempts that were made.", examples: [1] }),
  next_at: Nullable(
    Type.String({
      description: "When the next attempt is due; null if none is to be made.",
      examples: ["2026-01-31T12:00:05.000Z"],
    }),
  ),
  last_status: Nullable(
    Type.Integer({ description: "The status of the last answer; null if there was none.", examples: [204] }),
  ),
  last_problem: Nullable(
    Type.String({
      description: "The problem of the last attempt; null if there was none.",
      examples: ["It was answered with 503"],
    }),
  ),
  created_at: Timestamp,
  delivered_at: Nullable(Timestamp),
});
export type Callback = Static<typeof Callback>;

/** Returns a delivery as the API shows it. */
export function callbackOf({ due, since: _since, ...delivery }: Delivery): Callback {
  return { ...delivery, next_at: delivery.state === "waiting" ? timestamp(due) : null };
}

/** The answer of `GET /v1/callbacks/secret`. */
export const CallbackSecret = Type.Object({
  secret: Type.String({
    description: "The secret that signs callbacks, in the form that the libraries of standardwebhooks.com take.",
    examples: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw8nVu3mYbJ5k="],
  }),
  previous_until: Nullable(
    Type.String({
      description: "Until when callbacks are also signed with the secret before this one; null if they are not.",
      examples: [null],
    }),
  ),
});
export type CallbackSecret = Static<typeof CallbackSecret>;

/**
 * Returns the body of a callback. It has the function's response as it was written, number for number. A response that
 * is not JSON is in base64, and one that is too long for a callback is left out. The message of a failure is the one for
 * strangers.
 */
export function callbackBody(invocation: Invocation, response: Uint8Array | null): string {
  const { id, status, finished_at, reason, message } = invocation;
  // Its receiver need not be one who may read the record. If there is a response, the message is only about the exit.
  const isPrivate = response === null && reason !== null && message !== null;
  const shown = isPrivate ? { ...invocation, message: publicMessage(reason, message) } : invocation;
  const head = JSON.stringify({ type: `invocation.${status}`, timestamp: finished_at });
  return `${head.slice(0, -1)},"data":{"invocation":${JSON.stringify(shown)},${responseFields(id, response)}}}`;
}

function responseFields(id: string, response: Uint8Array | null): string {
  if (response !== null && response.length > CALLBACK.response_bytes) {
    const note = `The response has ${response.length} bytes, and a callback at most ${CALLBACK.response_bytes} of it: GET /v1/invocations/${id}/result has it`;
    return `"response":null,"response_omitted":${JSON.stringify(note)}`;
  }
  const json = response === null ? "null" : jsonOf(response);
  if (json !== undefined) return `"response":${json}`;
  return `"response":null,"response_base64":"${Buffer.from(response ?? []).toString("base64")}"`;
}

function jsonOf(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}

const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/** Reads the addresses that callbacks may reach besides public ones; undefined if an entry is neither a name nor a range. */
export function parseAllowed(entries: readonly string[]): Allowed | undefined {
  const names = new Set<string>();
  const ranges = [];
  for (const entry of entries) {
    const range = addressRange(entry.replace(/^\[(.*)\]$/, "$1"));
    const name = plainName(entry.toLowerCase());
    if (range !== undefined) ranges.push(range);
    // URLs take a host that ends in a number for an address, not a name.
    else if (NAME.test(name) && !/(^|\.)(\d+|0x[0-9a-f]*)$/.test(name)) names.add(name);
    else return undefined;
  }
  return { names, ranges };
}

/** Returns the host name of a URL without a dot at its end. */
export function plainName(hostname: string): string {
  return hostname.replace(/\.$/, "");
}

/** Returns the host of a URL if it is an address; undefined if it is a name. */
export function literalAddress({ hostname }: URL): string | undefined {
  const address = hostname.replace(/^\[(.*)\]$/, "$1");
  return addressBytes(address) === undefined ? undefined : address;
}

/**
 * Throws `invalid_request` for a `callback_url` that could never be called. A name is resolved at each call. The message does
 * not quote the URL: its path or query often has a token.
 */
export function checkCallbackUrl(text: string, allowed: Allowed): void {
  const problem = callbackUrlProblem(text, allowed);
  if (problem === undefined) return;
  throw new AppError("invalid_request", `Invalid "callback_url": ${problem}`);
}

/** Returns the problem with a `callback_url`, and what to do; undefined if there is none. */
export function callbackUrlProblem(text: string, allowed: Allowed): string | undefined {
  // The parser normalises every spelling of an address: 0x7f.1, 2130706433, ①27.0.0.1.
  const url = URL.parse(text);
  if (text.length > CALLBACK_URL_LENGTH) return `it has ${text.length} characters: at most ${CALLBACK_URL_LENGTH}`;
  if (url === null || !/^https?:$/.test(url.protocol)) return "give a URL such as https://example.com/hook";
  if (url.username !== "" || url.password !== "") return "it has credentials: put a token into its path or query";
  if (text.includes("#")) return "it has a fragment, which no server is sent: leave that out";
  const literal = literalAddress(url) ?? (isLocalhost(url) ? "127.0.0.1" : undefined);
  if (literal === undefined || allowed.names.has(plainName(url.hostname)) || mayBeCalled(literal, allowed)) {
    return undefined;
  }
  return notPublic(url);
}

/**
 * Returns the problem with a URL that leads to an address that must not be called. It does not name the address of a name:
 * whoever may choose the URL must not learn what names of the server's network resolve to.
 */
export function notPublic(url: URL): string {
  const literal = literalAddress(url);
  const fault = literal === undefined ? `${url.hostname} does not lead to` : `${literal} is not`;
  return `${fault} a public address; whoever runs the server may allow it with CALLBACK_ALLOW`;
}

function isLocalhost({ hostname }: URL): boolean {
  return /(^|\.)localhost\.?$/.test(hostname);
}
