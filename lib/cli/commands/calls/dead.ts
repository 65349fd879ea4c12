import type { Invocation } from "../../../domain/calls/invocations.ts";
import { ConfigError } from "../../../config/config.ts";
import { about, segment } from "../../api/names.ts";
import { firstOf } from "../../api/pages.ts";
import { namesById } from "../../invocation-rows.ts";
import { count } from "../../option-readers.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

interface Replayed {
  readonly invocations: readonly Invocation[];
  readonly left: number;
}

/** `slipway dead`: asynchronous calls that have failed for good; `replay`. */
export const define: Define = (command, { client, out }) => {
  command
    .option("--function <function>", "Only those of this function, by its name or id.")
    .option("-n, --limit <count>", "The most calls to list, or to replay.", count)
    .action(async ({ function: name, limit }) => {
      const server = client();
      const query = { status: "dead", function_id: name };
      const list = () =>
        firstOf<Invocation>(server, { method: "GET", path: "/v1/invocations", query }, "invocations", limit ?? 50);
      const found = await (name === undefined ? list() : about(server, "function", name, list));
      const names = await namesById(server, found);
      const rows = found.map(({ id, function_id, attempts, reason, message, finished_at }) => ({
        id,
        function: names.get(function_id) ?? function_id,
        attempts,
        reason,
        died: relativeTime(finished_at),
        message,
      }));
      out.list(found, rows, "No dead invocations");
    });
  command
    .command("replay")
    .description("Run dead invocations again: those with these ids, or --all")
    .argument("[invocation...]", "Their ids.")
    .option("--all", "All that have not been replayed yet, newest first; --function and --limit narrow it down.")
    .action(async (ids, { all }) => {
      const server = client();
      if ((all === true) === ids.length > 0) throw new ConfigError("Give the ids of invocations, or --all");
      for (const id of ids) {
        const path = `/v1/invocations/${segment("invocation", id)}/replay`;
        const made = await server.data<Invocation>({ method: "POST", path });
        out.done(made, `${id} is queued again as ${made.id}`);
      }
      if (ids.length > 0) return;
      const { function: name, limit }: { function?: string; limit?: number } = command.opts();
      const body = { status: "dead", function_id: name, limit };
      const replay = () => server.data<Replayed>({ method: "POST", path: "/v1/invocations/replay", body });
      const done = await (name === undefined ? replay() : about(server, "function", name, replay));
      out.done(done, `${done.invocations.length} queued again, ${done.left} left`);
    });
};
