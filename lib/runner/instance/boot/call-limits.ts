import { AppError } from "../../../domain/errors.ts";
import { KILL_GRACE_MS } from "../../../domain/limits.ts";
import type { CallLimits } from "../../gate-protocol/boot-frames.ts";
import { NotDelivered } from "./not-delivered.ts";

/** The longest time since READY that can be said to a gate, in milliseconds. */
const WITHIN_MOST_MS = 2 ** 32 - 1;

/**
 * Returns for how many milliseconds after READY a gate may take a call that must be there by the moment `by`; `by` and `readyAt` are of
 * the monotonic clock. Throws NotDelivered if the instance has been ready for so long that its gate cannot be told.
 */
export function withinMs(by: number, readyAt: number): number {
  const ms = Math.max(1, Math.floor(by - readyAt));
  if (ms > WITHIN_MOST_MS) throw new NotDelivered("The instance of the function has waited for too long");
  return ms;
}

/** Returns the limits that a gate has for a call; undefined if nobody else may make the call again. Throws as `withinMs` does. */
export function limitsOf(
  { by, timeout_ms }: { readonly by?: number; readonly timeout_ms: number },
  readyAt: number,
): CallLimits | undefined {
  // A server that is not stopped ends the call before that.
  return by === undefined ? undefined : { withinMs: withinMs(by, readyAt), mostMs: timeout_ms + KILL_GRACE_MS };
}

/** Returns whether a call was given up because its server stops, or because another server has the call now. */
export function isTakenAway({ reason }: AbortSignal): boolean {
  return reason instanceof AppError && reason.reason === "shutting_down";
}
