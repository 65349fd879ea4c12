import type { Function } from "../../domain/functions/functions.ts";
import { type Invocation, NOT_RUN } from "../../domain/calls/invocations.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";

/** The record of an invocation that begins. */
export function newRecord(
  id: string,
  { function: fn, route_id }: { readonly function: Function; readonly route_id: string | null },
  requestBytes: number,
  now: string,
): Invocation {
  return {
    id,
    function_id: fn.id,
    route_id,
    image_id: fn.image_id,
    status: "running",
    ...NOT_RUN,
    request_bytes: requestBytes,
    mode: "sync",
    attempts: 1,
    priority: 0,
    run_at: null,
    version: fn.version,
    parent_id: null,
    replay_of: null,
    schedule_id: null,
    chain_depth: 0,
    callback_url: null,
    created_at: now,
  };
}

/** Microseconds are as fine as these clocks are. */
export function rounded(timing: Partial<Invocation>): Partial<Invocation> {
  return Object.fromEntries(
    Object.entries(timing).map(([name, value]) => [
      name,
      typeof value === "number" ? Math.round(value * 1000) / 1000 : value,
    ]),
  );
}

/** The fields of a record that an outcome tells. */
export function known(outcome: Outcome): Omit<Outcome, "response" | "body_file" | "meta" | "wish" | "logs"> {
  const { response: _response, body_file: _bodyFile, meta: _meta, wish: _wish, logs: _logs, ...fields } = outcome;
  return fields;
}
