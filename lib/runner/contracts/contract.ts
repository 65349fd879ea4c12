import type { Call } from "../call.ts";
import type { Exchange } from "../instance/active-call.ts";

/**
 * A way to call functions. Above a contract a call is a `FunctionRequest` and its answer a `FunctionResponse`; below
 * it they are frames to and from a gate. Everything else about a call (admission, pools, deadlines, records) is the same
 * for all contracts.
 *
 * A contract that starts functions before they are called needs one more step, between READY of the gate and `ready` of
 * the instance. One that streams may answer with a body that is still arriving, and read one of the request.
 */
export interface Contract {
  /** Turns a call into its exchange with a gate. Returns a promise only if the body of the request is still arriving. */
  exchange(call: ContractCall, now: number): Exchange | Promise<Exchange>;
}

/** The parts of a call that a contract translates. */
export type ContractCall = Pick<Call, "id" | "function" | "request" | "secrets" | "collect">;
