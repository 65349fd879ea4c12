import { Type, type Static } from "@sinclair/typebox";
import { Invocation } from "./invocations.ts";
import { Nullable, Timestamp } from "../types.ts";

/** One try at an asynchronous invocation, and what became of it. */
export const Attempt = Type.Composite([
  Type.Object({
    attempt: Type.Integer({ description: "From 1.", examples: [1] }),
    status: Type.Unsafe<"running" | "succeeded" | "failed" | "timed_out" | "cancelled" | "lost">(
      Type.Union(
        (["running", "succeeded", "failed", "timed_out", "cancelled", "lost"] as const).map((one) => Type.Literal(one)),
        { description: "`lost`: it ended with the server or the engine.", examples: ["succeeded"] },
      ),
    ),
  }),
  Type.Pick(Invocation, [
    ...(["reason", "message", "exit_code", "signal", "start", "queue_ms", "start_ms", "run_ms", "cpu_ms"] as const),
    ...(["peak_memory_bytes", "response_bytes", "log_bytes", "log_dropped_bytes"] as const),
  ]),
  Type.Object({ started_at: Timestamp, finished_at: Nullable(Timestamp) }),
]);
export type Attempt = Static<typeof Attempt>;
