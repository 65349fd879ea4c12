import type { Clock } from "../../clock.ts";
import { t } from "elysia";
import { AppError } from "../../domain/errors.ts";
import { parseSubmission, prefersAsync, type RawSubmissionQuery } from "../../domain/calls/submissions.ts";
import { type Caller, isAdministrator } from "../../domain/keys.ts";
import { DELAY_MS, PRIORITY } from "../../domain/limits.ts";
import type { IdempotentRequest } from "../../domain/calls/idempotency.ts";
import type { BufferedRequest } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { InvokeCall } from "../../services/calls/call.ts";
import type { Queue } from "../../services/work/queue.ts";
import type { Tracing } from "../../services/tracing/tracing.ts";
import { storedRequest } from "../../services/calls/stored-messages.ts";
import { success } from "../wire/envelope.ts";
import { flag, wholeNumber } from "../wire/parameters.ts";

/** The query of `POST /v1/functions/:id/invoke`. */
export const SubmissionQuery = t.Object(
  {
    async: flag("Answer 202 as soon as the request is on the disk; the function is called later."),
    delay_ms: t.Optional(
      wholeNumber({
        description: "With `async`: not before so many milliseconds.",
        minimum: 0,
        maximum: DELAY_MS,
        example: 60_000,
      }),
    ),
    run_at: t.Optional(
      t.String({
        description: "With `async`: not before this time, with its offset from UTC.",
        examples: ["2026-01-31T12:00:00Z"],
      }),
    ),
    priority: t.Optional(
      wholeNumber({
        description:
          "With `async`: higher goes first among the invocations of one function; above 0 only with the scope `admin`.",
        minimum: PRIORITY.min,
        maximum: PRIORITY.max,
        example: 0,
      }),
    ),
    callback_url: t.Optional(
      t.String({
        description: "With `async`: where the result is sent, in place of the function's own `callback_url`.",
        examples: ["https://example.com/hooks/slipway"],
      }),
    ),
  },
  { additionalProperties: false },
);

/** Returns what the sender of a call may see of its record. */
type Shown = (invocation: Invocation) => Partial<Invocation>;

/** The wishes of an asynchronous call; on a route they are the route's own. */
export interface SubmissionWishes {
  readonly query?: RawSubmissionQuery;
  /** The caller who chose what is in the query. */
  readonly caller?: Caller;
  readonly shown: Shown;
}

interface SubmissionsDeps {
  readonly queue: Queue;
  readonly tracing: Pick<Tracing, "begin">;
  readonly clock: Clock;
  readonly checkCallbackUrl: (url: string) => void;
}

/** The part of an asynchronous call that a caller of a route sees: strangers may call routes. */
export const shownOnRoutes: Shown = ({ id, status, created_at }) => ({ id, status, created_at });

/** Queues asynchronous calls. */
export class Submissions {
  readonly #deps: SubmissionsDeps;

  constructor(deps: SubmissionsDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the 202 for a call whose query or `Prefer` asks for one, or nothing if its sender waits for the answer.
   */
  async take(
    request: Request,
    call: Omit<InvokeCall, "signal"> & { readonly request: BufferedRequest },
    { query = {}, caller, shown }: SubmissionWishes,
    idempotency?: IdempotentRequest,
  ): Promise<Response | undefined> {
    const prefers = prefersAnswerLater(request);
    if (query.async !== "true" && !prefers) return checkSynchronous(query);
    const { callback_url, ...options } = parseSubmission(query, this.#deps.clock.now());
    if (caller !== undefined) checkPriority(caller, options.priority);
    if (callback_url !== null) this.#deps.checkCallbackUrl(callback_url);
    const { target } = call;
    const { invocation, repeated } = await this.#deps.queue.submit({
      id: call.id,
      target,
      body: call.request.body,
      request_meta: storedRequest(call.request, target.function),
      ...options,
      ...(idempotency && { idempotency }),
      origin: {
        callback_url: callback_url ?? target.function.callback_url,
        ...this.#deps.tracing.begin(call.id, call.request.headers),
      },
    });
    const response = accepted(shown(invocation), invocation.id, repeated);
    if (prefers) response.headers.set("Preference-Applied", "respond-async");
    return response;
  }
}

/** Returns whether the sender of a call does not wait for its answer. */
export function isAsynchronous(request: Request, { query = {} }: Pick<SubmissionWishes, "query">): boolean {
  return query.async === "true" || prefersAnswerLater(request);
}

function prefersAnswerLater({ headers }: Request): boolean {
  const preference = headers.get("prefer");
  return preference !== null && prefersAsync(preference);
}

/** Returns the 202 for a queued call; `repeated` if an earlier request with its Idempotency-Key has queued it. */
export function accepted(shown: Partial<Invocation>, id: string, repeated: boolean): Response {
  const headers = new Headers({ Location: `/v1/invocations/${id}` });
  if (repeated) {
    headers.set("Idempotent-Replayed", "true");
    // Its first name, which clients may know.
    headers.set("Idempotency-Replayed", "true");
  }
  return Response.json(success(shown), { status: 202, headers });
}

/** Throws `forbidden` for a priority that would push the work of others back. */
function checkPriority(caller: Caller, priority: number): void {
  if (priority <= 0 || isAdministrator(caller)) return;
  throw new AppError(
    "forbidden",
    `The priority ${priority} needs a key with the scope "admin": leave it out, or give one from ${PRIORITY.min} to 0`,
  );
}

/** Refuses options that only asynchronous calls can have: the sender expects them to work. */
export function checkSynchronous(query: RawSubmissionQuery): undefined {
  const { async: _, ...others } = query;
  const [name] = Object.keys(others);
  if (name === undefined) return;
  throw new AppError("invalid_request", `"${name}" is for asynchronous calls only: add async=true, or leave it out`);
}
