import type { Invocation } from "../../../domain/calls/invocations.ts";
import { STATUSES } from "../../../domain/calls/invocations.ts";
import { Option } from "@commander-js/extra-typings";
import { about, segment } from "../../api/names.ts";
import { firstOf } from "../../api/pages.ts";
import { invocationRows, namesById } from "../../invocation-rows.ts";
import { count } from "../../option-readers.ts";
import { relativeTime, showBytes, showMs } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

/** `slipway invocations`: lists calls, newest first; `show` and `cancel`. */
export const define: Define = (command, { client, out }) => {
  command
    .option("--function <function>", "Only those of this function, by its name or id.")
    .addOption(new Option("--status <status>", "Only those in this state.").choices(STATUSES))
    .option("--parent <invocation>", "Only those that the end of this invocation caused.")
    .option("--since <time>", "Only those created at this time or later, such as 2026-01-31T12:00:00Z.")
    .option("-n, --limit <count>", "The most invocations to list.", count, 20)
    .action(async ({ function: name, status, parent: parent_id, since, limit }) => {
      const server = client();
      const query = { function_id: name, status, parent_id, since };
      const request = { method: "GET", path: "/v1/invocations", query } as const;
      const list = () => firstOf<Invocation>(server, request, "invocations", limit);
      const found = await (name === undefined ? list() : about(server, "function", name, list));
      out.list(found, invocationRows(found, await namesById(server, found)), "No invocations");
    });
  command
    .command("show")
    .description("Show the record of an invocation")
    .argument("<invocation>", "Its id.")
    .action(async (id) => {
      const path = `/v1/invocations/${segment("invocation", id)}`;
      const invocation = await client().data<Invocation>({ method: "GET", path });
      const { queue_ms, start_ms, run_ms, cpu_ms, peak_memory_bytes, created_at, finished_at, ...rest } = invocation;
      out.record(invocation, {
        ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null)),
        waited: showMs(queue_ms),
        "start time": showMs(start_ms),
        "run time": showMs(run_ms),
        "cpu time": showMs(cpu_ms),
        memory: showBytes(peak_memory_bytes),
        created: relativeTime(created_at),
        finished: relativeTime(finished_at),
      });
    });
  command
    .command("cancel")
    .description("Cancel a queued or running asynchronous call")
    .argument("<invocation>", "Its id.")
    .action(async (id) => {
      const path = `/v1/invocations/${segment("invocation", id)}/cancel`;
      const invocation = await client().data<Invocation>({ method: "POST", path });
      out.done(invocation, `The invocation ${invocation.id} is ${invocation.status}`);
    });
};
