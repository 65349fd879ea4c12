import type { Invocation } from "../../domain/calls/invocations.ts";
import type { ApiClient } from "./api-client.ts";
import { segment } from "./names.ts";

/** The longest that one request waits, as the API allows, in seconds. */
const WAIT_S = 60;
/** The time that its answer may take beyond that, in milliseconds. */
const SLACK_MS = 30_000;

/** Returns whether an invocation has ended, for better or worse. */
export function hasEnded({ status }: Pick<Invocation, "status">): boolean {
  return status !== "queued" && status !== "running";
}

/** Waits until an invocation has ended and returns its record; after `limit_ms` in the state that it has by then. */
export async function waitForEnd(client: ApiClient, id: string, limit_ms: number): Promise<Invocation> {
  const deadline = performance.now() + limit_ms;
  for (;;) {
    const left_ms = Math.max(0, deadline - performance.now());
    const wait = left_ms > WAIT_S * 1_000 ? `${WAIT_S}s` : `${Math.ceil(left_ms)}ms`;
    const invocation = await client.data<Invocation>({
      method: "GET",
      path: `/v1/invocations/${segment("invocation", id)}`,
      query: { wait },
      timeout_ms: WAIT_S * 1_000 + SLACK_MS,
    });
    if (hasEnded(invocation) || performance.now() >= deadline) return invocation;
  }
}
