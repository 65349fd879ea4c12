import type { Function, FunctionWithPool } from "../../../domain/functions/functions.ts";
import { mapConcurrent } from "../../../domain/concurrency.ts";
import { ApiError } from "../../api/api-client.ts";
import { about, segment } from "../../api/names.ts";
import type { Define } from "../../tools.ts";

/** Requests at the same time. */
const AT_ONCE = 8;

/** `slipway ps`: the instances of functions, by version. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("[function]", "Only this one, by its name or id.")
    .option("-a, --all", "Also functions without instances.")
    .action(async (name, { all }) => {
      const server = client();
      const show = (id: string) =>
        server.data<FunctionWithPool>({ method: "GET", path: `/v1/functions/${segment("function", id)}` });
      const functions =
        name === undefined
          ? await server.data<Function[]>({ method: "GET", path: "/v1/functions" })
          : [await about(server, "function", name, () => show(name))];
      const found = await mapConcurrent(functions, AT_ONCE, async ({ id }) => {
        try {
          return [await show(id)];
        } catch (error) {
          // It was deleted meanwhile.
          if (error instanceof ApiError && error.reason === "not_found") return [];
          throw error;
        }
      });
      const pools = found.flat().flatMap((fn) =>
        [{ version: fn.version, ...fn.pool }, ...fn.version_pools].map((pool) => ({
          function: fn.name ?? fn.id,
          version: pool.version,
          isolation: fn.isolation,
          ready: pool.ready,
          starting: pool.starting,
          busy: pool.busy,
          target: pool.target,
          problem: pool.problem ?? null,
        })),
      );
      const isShown = ({ ready, starting, busy, target, problem }: (typeof pools)[number]) =>
        all === true || name !== undefined || ready + starting + busy + target > 0 || problem !== null;
      const shown = pools.filter(isShown);
      out.list(shown, shown, "No instances: --all lists functions without any, too");
    });
};
