import { Type, type Static } from "@sinclair/typebox";
import { REASONS } from "../errors.ts";
import { CONTRACTS } from "../functions/contract.ts";
import { PAGE } from "../limits.ts";
import { parseLimit } from "../functions/pages.ts";
import { TracePlace } from "../tracing/trace-context.ts";
import { Enum, Nullable, readTime, Timestamp } from "../types.ts";

/**
 * A synchronous one is `running` until it ends; `failed` is every end that has no status of its own, and `reason` says
 * which. An asynchronous one is `queued` before and between its attempts, and ends as `succeeded`, `dead` or `cancelled`
 * (states.ts).
 */
export const STATUSES = ["queued", "running", "succeeded", "failed", "timed_out", "cancelled", "dead"] as const;
export const InvocationStatus = Type.Union(
  STATUSES.map((status) => Type.Literal(status)),
  {
    description:
      "`queued` while an asynchronous one waits for its next attempt; `running` until it ends; `dead` when an asynchronous one failed for good; " +
      "`failed` is every end that has no status of its own, and `reason` says which.",
    examples: ["succeeded"],
  },
);
export type InvocationStatus = (typeof STATUSES)[number];

/**
 * Why an answer did not reach its caller in whole, though the function had given it: the caller closed the connection, took
 * no byte for too long, or was still reading when the server stopped.
 */
export const UNDELIVERED = ["client_closed", "client_stalled", "shutting_down"] as const;
export type Undelivered = (typeof UNDELIVERED)[number];

const milliseconds = (description: string, example: number) =>
  Nullable(Type.Number({ description: `${description}, in milliseconds.`, examples: [example] }));
const bytes = (description: string, example: number) =>
  Nullable(Type.Integer({ description: `${description}, in bytes.`, examples: [example] }));

/** One request to run a function, and its result. */
export const Invocation = Type.Object({
  id: Type.String({
    description: "A UUID; the function sees it as REQUEST_ID, the caller as X-Request-Id.",
    examples: ["7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
  }),
  function_id: Type.String({
    description: "The id of the function.",
    examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
  }),
  route_id: Nullable(
    Type.String({
      description: "The id of the route that was called; null for `POST /v1/functions/:id/invoke`.",
      examples: ["5d1c7c0e-8a53-44c5-b7a3-0f4f7c1f0e0a"],
    }),
  ),
  image_id: Nullable(
    Type.String({
      description: "The engine's id of the image that ran.",
      examples: ["sha256:4f15e3730ee4073e13d2536d3b5a577f88a63268350c598aa48d92abc79c3b6a"],
    }),
  ),
  status: Type.Unsafe<InvocationStatus>(InvocationStatus),
  reason: Nullable(
    Type.Unsafe<(typeof REASONS)[number]>(
      Type.Union(
        REASONS.map((reason) => Type.Literal(reason)),
        { description: "What went wrong, for a program." },
      ),
    ),
  ),
  message: Nullable(Type.String({ description: "What went wrong, for a person." })),
  exit_code: Nullable(
    Type.Integer({ description: "Null if the function did not run, or if a signal ended it.", examples: [0] }),
  ),
  signal: Nullable(Type.Integer({ description: "The number of the signal that ended it." })),
  start: Nullable(
    Type.Unsafe<"cold" | "warm">(
      Type.Union([Type.Literal("cold"), Type.Literal("warm")], {
        description: "`cold` if an instance had to be started for it.",
        examples: ["cold"],
      }),
    ),
  ),
  queue_ms: milliseconds("Wait for a place among the running instances", 0.12),
  start_ms: milliseconds("Wait for an instance to be ready", 412.5),
  boot_ms: milliseconds(
    "Time that the function took to listen, in the record of its instance's first call; with the contract `http`",
    850,
  ),
  first_byte_ms: milliseconds(
    "From handing over the request to the head of the function's answer, or to its first output; with the contracts `http` and `stdio`",
    4.5,
  ),
  run_ms: milliseconds(
    "From handing over the request to the end of the function, or to the last byte of its answer",
    6.25,
  ),
  cpu_ms: milliseconds("User and system time of the function's process and its children", 2.5),
  peak_memory_bytes: bytes("Largest resident set of the function's process", 1_376_256),
  request_bytes: Type.Integer({
    description: "Size of the request body; of a streamed one, what the function was sent.",
    examples: [26],
  }),
  response_bytes: bytes(
    "Size of the answer's body: response.json, response.body, standard output, or what a server has sent",
    50,
  ),
  log_bytes: Type.Integer({ description: "Size of the logs that were kept.", examples: [8] }),
  log_dropped_bytes: Type.Integer({
    description: "Size of the output beyond the limit, which was dropped.",
    examples: [0],
  }),
  mode: Type.Unsafe<"sync" | "async">(
    Type.Union([Type.Literal("sync"), Type.Literal("async")], {
      description: "`sync` when a caller waited for the answer.",
      examples: ["sync"],
    }),
  ),
  attempts: Type.Integer({ description: "Attempts that were begun; the record is about the latest.", examples: [1] }),
  priority: Type.Integer({ description: "Higher goes first among those of one function.", examples: [0] }),
  run_at: Nullable(
    Type.String({
      description: "When the next attempt is due, while it is queued.",
      examples: ["2026-01-31T12:00:00.000Z"],
    }),
  ),
  version: Nullable(
    Type.Integer({
      description: "The version of the function that ran; while it is queued, the current one when it was submitted.",
      examples: [1],
    }),
  ),
  contract: Enum(CONTRACTS, { description: "How the function was spoken to.", examples: ["files"] }),
  parent_id: Nullable(Type.String({ description: "The invocation whose end caused it (`on_success`, `on_failure`)." })),
  replay_of: Nullable(Type.String({ description: "The invocation whose request it repeats." })),
  schedule_id: Nullable(Type.String({ description: "The schedule that caused it." })),
  chain_depth: Type.Integer({ description: "How many invocations led to it, one after the other.", examples: [0] }),
  callback_url: Nullable(Type.String({ description: "Where its result is sent." })),
  key_id: Nullable(
    Type.String({
      description: "The id of the key that its caller sent, `server` for the server's own; null if none was needed.",
      examples: ["c3a1f0de-5b5c-4f0e-8f43-2d1f6f0b7a90"],
    }),
  ),
  undelivered: Nullable(
    Type.Unsafe<Undelivered>(
      Type.Union(
        UNDELIVERED.map((why) => Type.Literal(why)),
        {
          description:
            "Why the function's answer did not reach a caller who waited for it. Null if it did, or if all that was left of it " +
            "fitted into the machine's buffers, which do not say whether it arrived.",
        },
      ),
    ),
  ),
  ...TracePlace.properties,
  created_at: Timestamp,
  finished_at: Nullable(Timestamp),
});
export type Invocation = Static<typeof Invocation>;

/** The answer of `GET /v1/invocations/:id`: the record, and the server that has it if several share the database. */
export const ShownInvocation = Type.Object({
  ...Invocation.properties,
  server_id: Type.Optional(
    Type.String({
      description:
        "The `SERVER_ID` of the server that wrote the record last: the one that runs the function, or ran it; of one that waits, the one " +
        "that took it. Only with `DATABASE_URL`.",
      examples: ["node-1"],
    }),
  ),
});
export type ShownInvocation = Static<typeof ShownInvocation>;

/** The fields of a record that are unknown until the run has ended. */
export const NOT_RUN = {
  reason: null,
  message: null,
  exit_code: null,
  signal: null,
  start: null,
  queue_ms: null,
  start_ms: null,
  boot_ms: null,
  first_byte_ms: null,
  run_ms: null,
  cpu_ms: null,
  peak_memory_bytes: null,
  response_bytes: null,
  log_bytes: 0,
  log_dropped_bytes: 0,
  finished_at: null,
} as const satisfies Partial<Invocation>;

/** A piece of the output of a function; bytes that are not UTF-8 are replaced by U+FFFD. */
export const LogEntry = Type.Object({
  stream: Type.Unsafe<"stdout" | "stderr">(
    Type.Union([Type.Literal("stdout"), Type.Literal("stderr")], { description: "Where it was printed." }),
  ),
  text: Type.String({ description: "What was printed.", examples: ["greeted\n"] }),
  time: Type.Optional(
    Type.String({
      description: "When the first of it was read (RFC 3339); absent from output that an older version recorded.",
      examples: ["2026-01-31T12:00:00.000Z"],
    }),
  ),
  dropped_before_bytes: Type.Optional(
    Type.Integer({
      minimum: 1,
      description:
        "Size of the output that was dropped before this entry, if any was: the beginning and the end are kept.",
      examples: [936_000],
    }),
  ),
  boot: Type.Optional(
    Type.Literal(true, {
      description:
        "Printed before the first call of the instance, while it booted or later; only for functions of the contract `http`.",
    }),
  ),
});
export type LogEntry = Static<typeof LogEntry>;

/** The answer of `GET /v1/invocations/:id/logs`. */
export const InvocationLogs = Type.Object({
  entries: Type.Array(LogEntry, {
    description: "In the order in which the gate read them; of a function that runs, those so far.",
  }),
  dropped_bytes: Type.Integer({
    description: "Size of the output beyond the limit, which was dropped; known when the function has ended.",
  }),
});
export type InvocationLogs = Static<typeof InvocationLogs>;

/** The invocations to list, newest first. */
export interface InvocationQuery {
  readonly function_id?: string;
  readonly status?: InvocationStatus;
  /** Only those that the end of this invocation caused (`on_success`, `on_failure`). */
  readonly parent_id?: string;
  /** Only those created at or after this time, and before that one. */
  readonly since?: string;
  readonly until?: string;
  readonly cursor?: string;
  readonly limit: number;
}

/** The query of `GET /v1/invocations` as it was sent. */
export interface RawInvocationQuery extends Omit<InvocationQuery, "limit"> {
  readonly limit?: string;
}

/** Reads a query: times of any zone become UTC, as records have them. Throws `invalid_request`. */
export function parseInvocationQuery({ since, until, limit, ...rest }: RawInvocationQuery): InvocationQuery {
  return {
    ...rest,
    limit: limit === undefined ? PAGE.default : parseLimit(limit),
    ...(since !== undefined && { since: readTime("since", since) }),
    ...(until !== undefined && { until: readTime("until", until) }),
  };
}

/** A page of invocations, and the cursor of the next page if there is one. */
export const InvocationPage = Type.Object({
  invocations: Type.Array(Invocation),
  next_cursor: Nullable(Type.String({ description: "Send it as `cursor` for the next page; null on the last one." })),
});
export type InvocationPage = Static<typeof InvocationPage>;
