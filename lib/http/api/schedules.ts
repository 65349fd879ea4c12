import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { CreateSchedule, ScheduleWithTimes, UpdateSchedule } from "../../domain/schedules.ts";
import type { ScheduleService } from "../../services/work/schedules.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { type Guard, resource } from "../access/guard.ts";

const params = t.Object({
  id: t.String({ description: "The id of the schedule.", examples: ["f3b9b3c5-2a3e-4d0e-8e2f-5a2d9a3c7c4e"] }),
});

/** `/v1/schedules`: calling functions by the clock. */
export function schedulesRoutes(guard: Guard, schedules: ScheduleService) {
  return resource(guard, "schedules")
    .get("/", async () => success(await schedules.list()), {
      needs: "read",
      long: true,
      response: { 200: Envelope(Type.Array(ScheduleWithTimes), "The schedules, oldest first."), ...errors() },
      detail: { operationId: "listSchedules", summary: "List the schedules" },
    })
    .post(
      "/",
      async ({ body, set }) => {
        const created = await schedules.create(body);
        set.status = 201;
        return success(created);
      },
      {
        needs: "write",
        body: CreateSchedule,
        response: {
          201: Envelope(ScheduleWithTimes, "The new schedule."),
          ...errors(400, 404, 408, 409, 413, 415, 507),
        },
        detail: {
          operationId: "createSchedule",
          summary: "Call a function on a schedule",
          description: "Each scheduled time makes one asynchronous invocation, and never two, even after a restart.",
        },
      },
    )
    .get("/:id", ({ params: { id } }) => success(schedules.get(id)), {
      needs: "read",
      params,
      response: { 200: Envelope(ScheduleWithTimes, "The schedule."), ...errors(404) },
      detail: { operationId: "getSchedule", summary: "Show a schedule and its next five times" },
    })
    .patch("/:id", async ({ params: { id }, body }) => success(await schedules.update(id, body)), {
      needs: "write",
      params,
      body: UpdateSchedule,
      response: {
        200: Envelope(ScheduleWithTimes, "The schedule as it is now."),
        ...errors(400, 404, 408, 413, 415, 507),
      },
      detail: { operationId: "updateSchedule", summary: "Change or pause a schedule" },
    })
    .delete("/:id", async ({ params: { id } }) => success(await schedules.delete(id)), {
      needs: "write",
      params,
      response: { 200: Envelope(ScheduleWithTimes, "The schedule as it was."), ...errors(404, 507) },
      detail: {
        operationId: "deleteSchedule",
        summary: "Delete a schedule",
        description: "Invocations that it has queued stay.",
      },
    });
}
