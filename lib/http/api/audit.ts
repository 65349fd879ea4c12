import { t } from "elysia";
import { AUDIT_EVENTS, AuditPage, parseAuditQuery } from "../../domain/audit.ts";
import { Enum } from "../../domain/types.ts";
import type { AuditService } from "../../services/access/audit.ts";
import { type Guard, resource } from "../access/guard.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { pageFields } from "../wire/pages.ts";

const filter = t.Object(
  {
    event: t.Optional(Enum(AUDIT_EVENTS, { description: "Only entries of this kind.", examples: ["refused_key"] })),
    key_id: t.Optional(t.String({ description: "Only requests with this key.", examples: ["server"] })),
    ...pageFields("Entries"),
  },
  { additionalProperties: false },
);

/** `/v1/audit`: who changed what, and whose key was refused. */
export function auditRoutes(guard: Guard<"read">, audit: AuditService) {
  return resource(guard, "keys").get("/", async ({ query }) => success(await audit.list(parseAuditQuery(query))), {
    needs: "read",
    query: filter,
    response: { 200: Envelope(AuditPage, "A page of entries, newest first."), ...errors(400) },
    detail: {
      operationId: "listAudit",
      summary: "List who changed what, newest first",
      description:
        "One entry for each request that is more than reading or calling, and for each key that was refused; of many refused " +
        "keys in a short time, the first ones.",
    },
  });
}
