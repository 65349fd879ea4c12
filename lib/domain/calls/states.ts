import type { InvocationStatus } from "./invocations.ts";

/**
 * An asynchronous invocation, from its 202 to its end.
 *
 * It is `queued` from the commit that its 202 waited for, also between two attempts, and `running` while an attempt holds
 * its lease. An attempt ends it as `succeeded`, or, when none is left to make, as `dead`; a caller may end it as
 * `cancelled` before. The last three are final: whatever comes later (an attempt that was thought lost, a second cancel)
 * is ignored. An attempt that was lost with the server or the engine leaves it `queued`, as does one that found no place
 * to run.
 */
export type WorkState = "queued" | "running" | "succeeded" | "dead" | "cancelled";

/** What can happen to it. */
export type WorkEvent =
  /** A worker took it, with a lease. */
  | "claim"
  /** The function did its work. */
  | "succeed"
  /** It did not, and another attempt is to be made. */
  | "retry"
  /** It did not, and no other attempt is to be made. */
  | "give_up"
  /** The attempt ended with the server or the engine, or never began. */
  | "lose"
  /** Someone wants it no more. */
  | "cancel";

const TRANSITIONS: Readonly<Record<WorkState, Partial<Record<WorkEvent, WorkState>>>> = {
  queued: { claim: "running", cancel: "cancelled" },
  running: { succeed: "succeeded", retry: "queued", give_up: "dead", lose: "queued", cancel: "cancelled" },
  succeeded: {},
  dead: {},
  cancelled: {},
};

/** Where an event leads, or nothing where it is to be ignored; the other states of synchronous ones know no events. */
export function nextState(state: InvocationStatus, event: WorkEvent): WorkState | undefined {
  return isWorkState(state) ? TRANSITIONS[state][event] : undefined;
}

function isWorkState(state: InvocationStatus): state is WorkState {
  return Object.hasOwn(TRANSITIONS, state);
}

/** Whether nothing can happen any more. */
export function isFinal(state: WorkState): boolean {
  return Object.keys(TRANSITIONS[state]).length === 0;
}
