import type { Invocation } from "../../../domain/calls/invocations.ts";
import { about } from "../../api/names.ts";
import { firstOf } from "../../api/pages.ts";
import { namesById } from "../../invocation-rows.ts";
import { count } from "../../option-readers.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

/** `slipway queue`: asynchronous calls that run, and those that wait. */
export const define: Define = (command, { client, out }) => {
  command
    .option("--function <function>", "Only those of this function, by its name or id.")
    .option("-n, --limit <count>", "The most calls to list of each state.", count, 50)
    .action(async ({ function: name, limit }) => {
      const server = client();
      const inState = (status: Invocation["status"]) => {
        const request = { method: "GET", path: "/v1/invocations", query: { status, function_id: name } } as const;
        return firstOf<Invocation>(server, request, "invocations", limit);
      };
      const list = async () => [...(await inState("running")), ...(await inState("queued"))];
      const all = await (name === undefined ? list() : about(server, "function", name, list));
      const found = all.filter(({ mode }) => mode === "async");
      const names = await namesById(server, found);
      const rows = found.map(({ id, function_id, status, attempts, priority, run_at, created_at }) => ({
        id,
        function: names.get(function_id) ?? function_id,
        status,
        attempts,
        priority,
        due: relativeTime(run_at),
        created: relativeTime(created_at),
      }));
      out.list(found, rows, "Nothing is queued");
    });
};
