import type { Function } from "../../../domain/functions/functions.ts";
import { about, segment } from "../../api/names.ts";
import type { Define } from "../../tools.ts";

/** `slipway rm`: deletes functions, one after the other. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("<function...>", "Their names or ids.")
    .option("--cascade", "Also delete their routes, and remove them from the on_success and on_failure of others.")
    .action(async (names, { cascade }) => {
      const server = client();
      for (const name of names) {
        const path = `/v1/functions/${segment("function", name)}`;
        const remove = () => server.data<Function>({ method: "DELETE", path, query: { cascade } });
        const fn = await about(server, "function", name, remove);
        out.done(fn, `Deleted the function ${fn.name ?? fn.id}`);
      }
    });
};
