import { SystemState } from "../../../domain/system/system.ts";
import type { SystemService } from "../../../services/system.ts";
import { type Guard, resource } from "../../access/guard.ts";
import { Envelope, errors, success } from "../../wire/envelope.ts";

/** `GET /v1/system`: how the server itself is doing. */
export function systemRoutes(guard: Guard<"read">, system: Pick<SystemService, "state">) {
  return resource(guard, "status").get("/", async () => success(await system.state()), {
    needs: "read",
    response: { 200: Envelope(SystemState, "The state of the server."), ...errors() },
    detail: {
      operationId: "getSystem",
      summary: "Show the server's engine, database and budgets",
      description:
        "Also lists what has this server's label on the engine and no owner: containers that it does not know, networks and " +
        "volumes that it does not use. A healthy server has none.",
    },
  });
}
