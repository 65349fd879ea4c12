import type { Invocation, InvocationStatus } from "./invocations.ts";

/**
 * The states of an asynchronous invocation, from its 202 to its end.
 *
 * It is `queued` from the commit that its 202 waited for, also between two attempts, and `running` while an attempt holds
 * its lease. An attempt ends it as `succeeded` or, if no other is to be made, as `dead`; before that a caller may end it as
 * `cancelled`. These three are final: whatever comes later (an attempt that was thought lost, a second cancel) is ignored.
 * An attempt that was lost with the server or the engine leaves it `queued`, and so does one that found no place to run.
 */
export type WorkState = "queued" | "running" | "succeeded" | "dead" | "cancelled";

/** What can happen to it. */
export type WorkEvent =
  /** A worker took it, with a lease. */
  | "claim"
  /** The function succeeded. */
  | "succeed"
  /** The function failed, and another attempt is to be made. */
  | "retry"
  /** The function failed, and no other attempt is to be made. */
  | "give_up"
  /** The attempt ended with the server or the engine, or never began. */
  | "lose"
  /** A caller cancelled it. */
  | "cancel";

const TRANSITIONS: Readonly<Record<WorkState, Partial<Record<WorkEvent, WorkState>>>> = {
  queued: { claim: "running", cancel: "cancelled" },
  running: { succeed: "succeeded", retry: "queued", give_up: "dead", lose: "queued", cancel: "cancelled" },
  succeeded: {},
  dead: {},
  cancelled: {},
};

/** The state that an event leads to; undefined if the event is to be ignored, as in all states of synchronous ones. */
export function nextState(state: InvocationStatus, event: WorkEvent): WorkState | undefined {
  return isWorkState(state) ? TRANSITIONS[state][event] : undefined;
}

/** The record in the state that an event leads to. Throws if the event cannot happen to it. */
export function moved(record: Invocation, event: WorkEvent): Invocation {
  const status = nextState(record.status, event);
  if (status === undefined) throw new Error(`An invocation that is ${record.status} cannot ${event}`);
  return { ...record, status };
}

function isWorkState(state: InvocationStatus): state is WorkState {
  return Object.hasOwn(TRANSITIONS, state);
}

/** Returns whether nothing can happen any more. */
export function isFinal(state: WorkState): boolean {
  return Object.keys(TRANSITIONS[state]).length === 0;
}
