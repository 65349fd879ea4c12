import { t } from "elysia";
import { InvocationStatus } from "../../../domain/calls/invocations.ts";
import { WAIT_MS } from "../../../domain/limits.ts";
import { pageFields } from "../../wire/pages.ts";

/** The query of `GET /v1/invocations`. */
export const filter = t.Object(
  {
    function_id: t.Optional(t.String({ description: "Only invocations of this function, by its id or name." })),
    status: t.Optional(InvocationStatus),
    parent_id: t.Optional(
      t.String({
        description: "Only those that the end of this invocation caused (`on_success`, `on_failure`).",
        examples: ["7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
      }),
    ),
    since: t.Optional(
      t.String({ description: "Only those created at this time or later.", examples: ["2026-01-31T12:00:00Z"] }),
    ),
    until: t.Optional(
      t.String({ description: "Only those created before this time.", examples: ["2026-02-01T12:00:00+01:00"] }),
    ),
    ...pageFields("Records"),
  },
  { additionalProperties: false },
);

/** The query of `GET /v1/invocations/:id`. */
export const waiting = t.Object(
  {
    wait: t.Optional(
      t.String({
        description: `How long to wait for the invocation to end, at most ${WAIT_MS / 1000}s.`,
        examples: ["30s"],
      }),
    ),
  },
  { additionalProperties: false },
);
