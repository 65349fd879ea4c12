import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { Option } from "@commander-js/extra-typings";
import { ConfigError } from "../../../config/config.ts";
import type { ScheduleWithTimes } from "../../../domain/schedules.ts";
import type { ApiClient } from "../../api/api-client.ts";
import { about, segment, unknownName } from "../../api/names.ts";
import { CommandError } from "../../exit-codes.ts";
import { namesById } from "../../invocation-rows.ts";
import { contentOf } from "../../option-readers.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define, Tools } from "../../tools.ts";

const PATH = "/v1/schedules";

/** `slipway schedules`: lists the schedules; `create`, `pause`, `resume` and `rm`. */
export const define: Define = (command, tools) => {
  const { client, out } = tools;
  command.action(async () => {
    const server = client();
    const schedules = await allSchedules(server);
    const names = await namesById(server, schedules);
    const rows = schedules.map(({ id, function_id, cron, timezone, paused, next }) => ({
      id,
      function: names.get(function_id) ?? function_id,
      cron,
      timezone,
      status: paused ? "paused" : "active",
      next: relativeTime(next[0] ?? null),
    }));
    out.list(schedules, rows, "No schedules yet: slipway schedules create FUNCTION CRON makes one");
  });
  defineCreate(command, tools);
  for (const [name, paused] of [
    ["pause", true],
    ["resume", false],
  ] as const) {
    command
      .command(name)
      .description(paused ? "Stop the runs of a schedule" : "Go on with the runs of a schedule")
      .argument("<schedule>", "Its id, or the function's name if it has only this one.")
      .action(async (text) => {
        const server = client();
        const { id } = await findSchedule(server, text);
        const body = { paused };
        const schedule = await server.data<ScheduleWithTimes>({
          method: "PATCH",
          path: `${PATH}/${segment("schedule", id)}`,
          body,
        });
        out.done(
          schedule,
          `The schedule ${id} ${paused ? "is paused" : `runs next ${relativeTime(schedule.next[0] ?? null)}`}`,
        );
      });
  }
  command
    .command("rm")
    .description("Delete schedules")
    .argument("<schedule...>", "Their ids, or names of functions that have only one.")
    .action(async (texts) => {
      const server = client();
      for (const text of texts) {
        const { id } = await findSchedule(server, text);
        const schedule = await server.data<ScheduleWithTimes>({
          method: "DELETE",
          path: `${PATH}/${segment("schedule", id)}`,
        });
        out.done(schedule, `Deleted the schedule ${id}`);
      }
    });
};

function defineCreate(command: CommandUnknownOpts, { client, out }: Tools): void {
  command
    .command("create")
    .description("Call a function by the clock")
    .argument("<function>", "Its name or id.")
    .argument("<cron>", 'When, such as "30 2 * * *", or @hourly, @daily, @weekly, @monthly.')
    .option("--timezone <name>", "The time zone of the expression, such as Europe/Berlin; by default UTC.")
    .option("--body <json>", "The request body; @FILE for the content of a file, - for standard input.")
    .addOption(
      new Option("--overlap <what>", "What a run does while the last one has not ended.").choices(["skip", "queue"]),
    )
    .addOption(new Option("--catch-up <what>", "What follows from runs that were missed.").choices(["none", "one"]))
    .option("--paused", "Create it without runs.")
    .action(async (name, cron, { timezone, body, overlap, catchUp, paused }) => {
      const server = client();
      const settings = { timezone, overlap, catch_up: catchUp, paused };
      const content = body === undefined ? {} : { body: jsonIn(await contentOf(body)) };
      const schedule = await about(server, "function", name, () =>
        server.data<ScheduleWithTimes>({
          method: "POST",
          path: PATH,
          body: { function_id: name, cron, ...settings, ...content },
        }),
      );
      const [next = null] = schedule.next;
      out.done(
        schedule,
        `Created the schedule ${schedule.id}${next === null ? "" : `; it runs next ${relativeTime(next)}`}`,
      );
    });
}

function jsonIn(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ConfigError('Invalid --body: give JSON, such as {"report": "daily"}', { cause: error });
  }
}

function allSchedules(server: ApiClient): Promise<ScheduleWithTimes[]> {
  return server.data<ScheduleWithTimes[]>({ method: "GET", path: PATH });
}

/** Finds a schedule by its id, or by the name or the id of a function that has no other. */
async function findSchedule(server: ApiClient, text: string): Promise<ScheduleWithTimes> {
  const schedules = await allSchedules(server);
  const byId = schedules.find(({ id }) => id === text);
  if (byId !== undefined) return byId;
  const names = await namesById(server, schedules);
  const [found, ...more] = schedules.filter(
    ({ function_id }) => function_id === text || names.get(function_id) === text,
  );
  if (found === undefined) throw await unknownName(server, "schedule", text);
  if (more.length === 0) return found;
  const ids = [found, ...more].map(({ id }) => id).join(", ");
  throw new CommandError(
    `${JSON.stringify(text)} has ${more.length + 1} schedules: name one of them by its id (${ids})`,
  );
}
