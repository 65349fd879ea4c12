import type { Delivery } from "../domain/calls/callbacks.ts";
import type { Invocation } from "../domain/calls/invocations.ts";
import { beganAttempt } from "../domain/calls/attempts.ts";
import { moved } from "../domain/calls/states.ts";
import { idempotencyOwner } from "../domain/calls/submissions.ts";
import { AppError } from "../domain/errors.ts";
import { QUEUED } from "../domain/limits.ts";
import { quoted } from "../domain/quoted.ts";
import { timestamp } from "../domain/types.ts";
import type { Claimed, IdempotencyKey, NewInvocation } from "./ledger.ts";
import type { Payload, Work } from "./records.ts";

/** The states of work at which no server makes an attempt. */
export const UNATTENDED: readonly Work["state"][] = ["waiting", "ready", "lost"];

/** The time after which a client may try again that found no room, in seconds: payloads of ended invocations go by then. */
const ROOM_AFTER_S = 10;

/** Returns the bytes of the given parts of a payload. */
export function sizeOf({ request, request_meta, response, response_meta }: Partial<Payload>): number {
  return (
    (request?.length ?? 0) +
    Buffer.byteLength(request_meta ?? "") +
    (response?.length ?? 0) +
    Buffer.byteLength(response_meta ?? "")
  );
}

/** Returns the refusal of `bytes` more for which the budget has no room. */
export function noRoom(budget: number, bytes: number): AppError {
  const message =
    `Queued requests and results that are kept take ${budget} bytes at most (QUEUE_BYTES), ` +
    `and there is no room for ${bytes} more: try again later, or cancel some`;
  return new AppError("storage_full", message, { retry_after_s: ROOM_AFTER_S });
}

/** Returns the refusal of another invocation when the queue is full. */
export function queueFull(): AppError {
  const message = `${QUEUED} invocations are queued already: try again later, or cancel some`;
  return new AppError("overloaded", message, { retry_after_s: 60 });
}

/** Returns the refusal of a request whose key came with another one before. */
export function keyMismatch({ key }: IdempotencyKey): AppError {
  return new AppError(
    "idempotency_mismatch",
    `The Idempotency-Key ${quoted(key)} came with another method, path, query or body before: send a new key for a new request`,
  );
}

/** An Idempotency-Key with the function and the caller that it belongs to. */
export type KeyName = ReturnType<typeof keyName>;

/** Returns the name under which a key is kept. */
export function keyName(invocation: Invocation, { key, caller }: IdempotencyKey) {
  const owner = idempotencyOwner(invocation);
  return { function_id: invocation.function_id, owner: typeof caller === "string" ? `${owner} ${caller}` : owner, key };
}

/** Returns a delivery that is due again; throws `conflict` if it waits anyway. */
export function dueAgain(before: Delivery, now: number): Delivery {
  if (before.state === "waiting") {
    const message = `The callback waits for its next attempt already, at ${timestamp(before.due)}`;
    throw new AppError("conflict", message);
  }
  return { ...before, state: "waiting", due: now, since: now, attempts: 0, delivered_at: null };
}

/** Returns the record of an invocation that follows from another, and for whose request there was no room. */
export function withoutRoom({ invocation }: NewInvocation, now: number): Invocation {
  return {
    ...invocation,
    status: "dead",
    reason: "storage_full",
    message: "It never ran: there was no room for its request within QUEUE_BYTES",
    run_at: null,
    finished_at: timestamp(now),
  };
}

/** Returns the work of a new invocation. */
export function newWork({ invocation, waits_since }: NewInvocation): Work {
  const { id, function_id, priority, run_at, created_at } = invocation;
  return {
    invocation_id: id,
    function_id,
    state: run_at > created_at ? "waiting" : "ready",
    priority,
    due: Date.parse(run_at),
    attempts: 0,
    lost_attempts: 0,
    lease_until: null,
    waits_since: waits_since ?? null,
  };
}

/** Returns the record that the invocation of taken work had before it was taken. */
export function beforeClaim({ work, invocation }: Claimed): Invocation {
  return { ...moved(invocation, "lose"), attempts: work.attempts - 1, run_at: timestamp(work.due) };
}

/** Returns taken work, whose `attempts` count this one already, with its invocation and the attempt that begins. */
export function claimedWork(work: Work, before: Invocation, now: number): Claimed {
  const { attempts } = work;
  const invocation: Invocation = { ...moved(before, "claim"), attempts, run_at: null };
  return { work, invocation, attempt: beganAttempt(attempts, timestamp(now)) };
}

/** Returns taken work in the order in which it is begun. */
export function inOrder(claimed: readonly Claimed[]): Claimed[] {
  return claimed.toSorted(
    ({ work: one }, { work: other }) =>
      other.priority - one.priority || one.due - other.due || (one.invocation_id < other.invocation_id ? -1 : 1),
  );
}

/** The most replays of one transaction, and about the bytes that it copies: some 10 ms of the event loop. */
const REPLAYS_AT_ONCE = 50;
const REPLAYED_BYTES = 4 * 1024 * 1024;

/** A replay, and the bytes of the request that it copies. */
export interface SizedReplay {
  readonly replay: NewInvocation;
  readonly bytes: number;
}

/** Replays for one transaction. */
export interface ReplaySlice {
  readonly replays: NewInvocation[];
  bytes: number;
}

/** Divides replays into those of one transaction each. */
export function replaySlices(sized: readonly SizedReplay[]): ReplaySlice[] {
  const slices: ReplaySlice[] = [];
  for (const { replay, bytes } of sized) {
    let slice = slices.at(-1);
    if (slice === undefined || slice.replays.length === REPLAYS_AT_ONCE || slice.bytes + bytes > REPLAYED_BYTES) {
      slice = { replays: [], bytes: 0 };
      slices.push(slice);
    }
    slice.replays.push(replay);
    slice.bytes += bytes;
  }
  return slices;
}
