import type { Function } from "../../../domain/functions/functions.ts";
import type { FunctionVersion } from "../../../domain/functions/versions.ts";
import { about, segment } from "../../api/names.ts";
import { firstOf } from "../../api/pages.ts";
import { CommandError } from "../../exit-codes.ts";
import { count } from "../../option-readers.ts";
import type { Define } from "../../tools.ts";

/** The time that the server may take, in milliseconds: it may have to pull an image again. */
const TIMEOUT_MS = 900_000;

/** `slipway rollback`: gives a function the image and settings of an earlier version. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("<function>", "Its name or id.")
    .argument("[version]", "The number of the version; by default the one before the current one.", count)
    .action(async (name, version) => {
      const server = client();
      const path = `/v1/functions/${segment("function", name)}`;
      const fn = await about(server, "function", name, async () => {
        const target = version ?? (await versionBefore(server, path, name));
        return server.data<Function>({
          method: "POST",
          path: `${path}/rollback`,
          body: { version: target },
          timeout_ms: TIMEOUT_MS,
        });
      });
      out.done(fn, `${fn.name ?? fn.id} is at version ${fn.version}: ${fn.image}`);
    });
};

async function versionBefore(server: Parameters<typeof about>[0], path: string, name: string): Promise<number> {
  const [, before] = await firstOf<FunctionVersion>(server, { method: "GET", path: `${path}/versions` }, "versions", 2);
  if (before === undefined)
    throw new CommandError(`${JSON.stringify(name)} has only one version: there is nothing to go back to`);
  return before.version;
}
