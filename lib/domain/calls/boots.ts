import { Type, type Static } from "@sinclair/typebox";
import { Nullable, Timestamp } from "../types.ts";
import { LogEntry } from "./invocations.ts";

/** The last boot of a function of the contract `http`: the answer of `GET /v1/functions/:id/boot`. */
export const Boot = Type.Object({
  version: Type.Integer({ description: "The version of the function that booted.", examples: [1] }),
  ended_at: Timestamp,
  boot_ms: Nullable(
    Type.Number({
      description:
        "From the moment at which its container ran until the function listened, in milliseconds; null if it did not.",
      examples: [412],
    }),
  ),
  problem: Nullable(
    Type.String({ description: "Why it failed, and how to fix it; null if it did not.", examples: [null] }),
  ),
  logs: Type.Array(LogEntry, {
    description:
      "What it printed until its first call, or its end; of a long output only the end. The values of its secrets are masked. The first call of the instance has this output too.",
    examples: [[{ stream: "stdout", text: "listening on 8080\n", time: "2026-01-31T12:00:00.000Z" }]],
  }),
});
export type Boot = Static<typeof Boot>;
