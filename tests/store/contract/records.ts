import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { deliveriesOf } from "../../../lib/domain/calls/callbacks.ts";
import { endedAttempt } from "../../../lib/domain/calls/attempts.ts";
import { moved } from "../../../lib/domain/calls/states.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import type { Claimed, End, Ledger, NewInvocation, PendingWork, Turns } from "../../../lib/store/ledger.ts";
import { someInvocation, START } from "../sqlite/support/stores.ts";

export const LEASE_MS = 30_000;

/** An asynchronous invocation that is to be queued, due at `run_at` (milliseconds since the epoch). */
export function newWork(id: string, fields: Partial<Invocation> & { due?: number; at?: number } = {}): NewInvocation {
  const { due, at = START, ...rest } = fields;
  return {
    invocation: {
      ...someInvocation(id, {
        status: "queued",
        mode: "async",
        attempts: 0,
        created_at: timestamp(at),
        finished_at: null,
        ...rest,
      }),
      run_at: timestamp(due ?? at),
    },
    request: { request: Buffer.from(`the request of ${id}`), request_meta: null },
  };
}

/** Takes the next work of a function, if any is ready. */
export async function claimNext(
  ledger: Pick<Ledger, "claim">,
  function_id: string,
  lease: { readonly now: number; readonly until: number },
): Promise<Claimed | null> {
  const turns: Turns = { functions: [{ function_id, most: 1 }], limit: 1, urgent: 1 };
  return (await ledger.claim(turns, lease)).claimed[0] ?? null;
}

/** Takes the next work of a function with a lease from `now`; throws if none is ready. */
export async function claimedOf(ledger: Pick<Ledger, "claim">, functionId = "f1", now = START): Promise<Claimed> {
  const found = await claimNext(ledger, functionId, { now, until: now + LEASE_MS });
  if (found === null) throw new Error("nothing was ready");
  return found;
}

/** The end of an attempt that succeeded, with its consequences. */
export function success(
  { work, invocation, attempt }: PendingWork,
  submissions: readonly NewInvocation[] = [],
  now = START,
): End {
  const fields = { reason: null, exit_code: 0 } as const;
  const ended: Invocation = { ...moved(invocation, "succeed"), ...fields, finished_at: timestamp(now) };
  return {
    invocation_id: work.invocation_id,
    attempt: work.attempts,
    invocation: ended,
    record:
      attempt === null ? "unchanged" : endedAttempt(attempt, { status: "succeeded", fields }, false, timestamp(now)),
    logs: [{ stream: "stdout", text: "done\n" }],
    answer: { response: Buffer.from("{}"), response_meta: null },
    left: null,
    deliveries: deliveriesOf(ended, now),
    submissions,
  };
}

/** The end of an attempt that is to be made again at `due`. */
export function again(pending: PendingWork, due: number, now = START): End {
  const { work, invocation, attempt } = pending;
  const finished = { status: "failed", fields: { reason: "function_failed" } } as const;
  return {
    invocation_id: work.invocation_id,
    attempt: work.attempts,
    invocation: { ...moved(invocation, "retry"), reason: "function_failed", run_at: timestamp(due) },
    record: attempt === null ? "unchanged" : endedAttempt(attempt, finished, false, timestamp(now)),
    answer: null,
    left: { due, attempts: work.attempts, lost_attempts: work.lost_attempts, waits_since: now },
    deliveries: [],
    submissions: [],
  };
}

/** The end of an invocation that is cancelled without a running attempt. */
export function cancelled({ work, invocation }: PendingWork, now = START): End {
  const ended: Invocation = {
    ...moved(invocation, "cancel"),
    reason: "cancelled",
    run_at: null,
    finished_at: timestamp(now),
  };
  return {
    invocation_id: work.invocation_id,
    attempt: work.attempts,
    invocation: ended,
    record: "unchanged",
    answer: null,
    left: null,
    deliveries: deliveriesOf(ended, now),
    submissions: [],
  };
}
