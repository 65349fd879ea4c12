import type { Function } from "../../../domain/functions/functions.ts";
import { type ApiClient, ApiError } from "../../api/api-client.ts";
import { about, segment } from "../../api/names.ts";
import { CommandError } from "../../exit-codes.ts";
import type { Define } from "../../tools.ts";

/** `slipway rm`: deletes functions, one after the other. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("<function...>", "Their names or ids.")
    .option("--cascade", "Also delete their routes, and remove them from the on_success and on_failure of others.")
    .action(async (names, { cascade }) => {
      const server = client();
      for (const name of names) {
        const fn = await about(server, "function", name, () => remove(server, name, cascade));
        out.done(fn, `Deleted the function ${fn.name ?? fn.id}`);
      }
    });
};

async function remove(server: ApiClient, name: string, cascade: true | undefined): Promise<Function> {
  const path = `/v1/functions/${segment("function", name)}`;
  try {
    return await server.data<Function>({ method: "DELETE", path, query: { cascade } });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== "conflict") throw error;
    // The API names its own parameter.
    throw new CommandError(error.message.replace("?cascade=true", "--cascade"), 1, { cause: error });
  }
}
