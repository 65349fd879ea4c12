import type { Invocation, InvocationStatus } from "./invocations.ts";

/**
 * The states of an asynchronous invocation, from its 202 to its end.
 *
 * It is `queued` from the commit that its 202 waited for, also between two attempts, and `running` while an attempt holds
 * its lease. An attempt ends it as `succeeded` or, if no other will be made, as `dead`; before that a caller may end it
 * as `cancelled`. These three are final: whatever comes later (an attempt that was thought lost, a second cancel) is
 * ignored. An attempt that was lost with the server or the engine leaves it `queued`, and so does one that found no
 * place to run.
 */
export type WorkState = "queued" | "running" | "succeeded" | "dead" | "cancelled";

/** The events that change the state of an invocation. */
export type WorkEvent =
  /** A worker took it, with a lease. */
  | "claim"
  /** The function succeeded. */
  | "succeed"
  /** The function failed, and another attempt will be made. */
  | "retry"
  /** The function failed, and no other attempt will be made. */
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

/** Returns the state that an event leads to; undefined if it is ignored, as in all states of synchronous ones. */
export function nextState(state: InvocationStatus, event: WorkEvent): WorkState | undefined {
  return isWorkState(state) ? TRANSITIONS[state][event] : undefined;
}

/** Returns the record in the state that an event leads to. Throws if the record's state does not allow the event. */
export function moved(record: Invocation, event: WorkEvent): Invocation {
  const status = nextState(record.status, event);
  if (status === undefined) throw new Error(`An invocation that is ${record.status} cannot ${event}`);
  return { ...record, status };
}

function isWorkState(state: InvocationStatus): state is WorkState {
  return Object.hasOwn(TRANSITIONS, state);
}

/** Returns whether no event can change a state. */
export function isFinal(state: WorkState): boolean {
  return Object.keys(TRANSITIONS[state]).length === 0;
}
