import type { Invocation } from "../../../domain/calls/invocations.ts";
import type { FunctionWithPool } from "../../../domain/functions/functions.ts";
import { type ApiClient, ApiError } from "../../api/api-client.ts";
import { about, segment } from "../../api/names.ts";
import { CommandError, EXIT } from "../../exit-codes.ts";
import { followFunction, followOne, invocationsOf, prefixOf, printOne } from "../../function-logs.ts";
import { count } from "../../option-readers.ts";
import type { Define } from "../../tools.ts";

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** `slipway logs`: what one invocation, or the latest ones of a function, have printed; `-f` goes on. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("<function|invocation>", "The function's name or id, or the id of an invocation.")
    .option("-f, --follow", "Go on with what is printed from now on, until Ctrl-C.")
    .option("-n, --limit <count>", "With a function: the most invocations to begin with.", count, 10)
    .action(async (name, { follow, limit }) => {
      const server = client();
      const invocation = UUID.test(name) ? await findInvocation(server, name) : undefined;
      if (invocation !== undefined) {
        if (follow === true) return followOne(server, out, invocation.id, "");
        const entries = await printOne(server, out, invocation.id, "");
        if (entries === 0) out.note("The invocation has printed nothing");
        return;
      }
      const path = `/v1/functions/${segment("function", name)}`;
      const find = () => server.data<FunctionWithPool>({ method: "GET", path });
      const fn = await about(server, "function", name, find).catch((error: unknown) => {
        if (!UUID.test(name) || !(error instanceof CommandError)) throw error;
        throw new CommandError(
          `No invocation or function ${name}: "slipway invocations" and "slipway ls" list what there is`,
          EXIT.failed,
          { cause: error },
        );
      });
      const latest = await invocationsOf(server, fn.id, limit);
      if (follow === true) return followFunction(server, out, fn.id, { latest });
      if (latest.length === 0) return out.note("No invocations yet");
      let entries = 0;
      for (const { id } of latest.toReversed()) entries += await printOne(server, out, id, prefixOf(id));
      if (entries > 0) return;
      const which = latest.length === 1 ? "The latest invocation has" : `The latest ${latest.length} invocations have`;
      out.note(`${which} printed nothing`);
    });
};

async function findInvocation(server: ApiClient, id: string): Promise<Invocation | undefined> {
  try {
    return await server.data<Invocation>({ method: "GET", path: `/v1/invocations/${id}` });
  } catch (error) {
    // It may be the id of a function.
    if (error instanceof ApiError && error.reason === "not_found") return undefined;
    throw error;
  }
}
