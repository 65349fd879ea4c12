import type { Clock } from "../clock.ts";
import { isBooted } from "../domain/functions/contract.ts";
import type { Call } from "./call.ts";
import { BY_NAME } from "./contracts/contracts.ts";
import { HTTP } from "./contracts/http.ts";
import { LAMBDA } from "./contracts/lambda/lambda.ts";
import { LambdaApp } from "./contracts/lambda/lambda-app.ts";
import { BootedInstance } from "./instance/booted-instance.ts";
import { Instance, type Run } from "./instance/instance.ts";
import type { PoolInstance } from "./instance/pool-instance.ts";

/** The server's options that calls are handed over with. */
export interface HandoverOptions {
  readonly context_path: string;
  readonly response_bytes: number;
  readonly log_bytes: number;
  readonly clock: Clock;
}

/**
 * Hands a call to an instance, in the terms of its function's contract. Settles with the answer, or with its head if it streams.
 * The gate does not take it later than at the moment `by` of the monotonic clock, if one is given.
 * Throws NotDelivered if nothing has reached the function and another instance may have the call.
 */
export async function handOver(
  call: Call,
  instance: PoolInstance,
  options: HandoverOptions,
  by?: number,
): Promise<Run> {
  const { timeout_ms, max_calls, contract, log_bytes } = call.function;
  const { clock, context_path, response_bytes } = options;
  const common = {
    timeout_ms,
    signal: call.signal,
    ...(call.onLogs && { onLogs: call.onLogs }),
    ...(by !== undefined && { by }),
  };
  if (instance instanceof BootedInstance) {
    const { app } = instance;
    const exchange =
      app instanceof LambdaApp ? LAMBDA.exchange(call, app, clock.now()) : HTTP.exchange(call, () => clock.now());
    return instance.serve({ ...(exchange instanceof Promise ? await exchange : exchange), ...common });
  }
  if (!(instance instanceof Instance) || isBooted(contract)) {
    throw new Error(`An instance cannot be called by the contract ${contract}`);
  }
  const exchange = BY_NAME[contract].exchange(call, clock.now());
  return instance.serve({
    response_limit: response_bytes,
    ...(exchange instanceof Promise ? await exchange : exchange),
    ...common,
    id: call.id,
    log_limit: log_bytes ?? options.log_bytes,
    again: max_calls === 0 || instance.calls + 1 < max_calls,
    context_root: context_path,
  });
}
