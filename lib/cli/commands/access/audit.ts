import { Option } from "@commander-js/extra-typings";
import type { AuditEntry } from "../../../domain/audit.ts";
import { firstOf } from "../../api/pages.ts";
import { count } from "../../option-readers.ts";
import type { Define } from "../../tools.ts";

/** `slipway audit`: who changed what, newest first. */
export const define: Define = (command, { client, out }) => {
  command
    .addOption(new Option("--event <event>", "Only entries of this kind.").choices(["change", "refused_key"]))
    .option("--key <id>", "Only requests with this key; server for the server's own.")
    .option("-n, --limit <count>", "The most entries to show.", count, 50)
    .action(async ({ event, key, limit }) => {
      const request = { method: "GET", path: "/v1/audit", query: { event, key_id: key } } as const;
      const entries = await firstOf<AuditEntry>(client(), request, "entries", limit);
      const rows = entries.map(({ at, event, key_id, address, method, path, status }) => ({
        at,
        event,
        request: `${method} ${path}`,
        answer: status,
        key: key_id,
        address,
      }));
      out.list(entries, rows, "No entries");
    });
};
