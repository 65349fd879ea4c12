import type { Function } from "../../../domain/functions/functions.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

/** `slipway ls`: lists the functions. */
export const define: Define = (command, { client, out }) => {
  command.action(async () => {
    const functions = await client().data<Function[]>({ method: "GET", path: "/v1/functions" });
    const rows = functions.map(({ id, name, image, version, updated_at }) => ({
      name,
      image,
      version,
      changed: relativeTime(updated_at),
      id,
    }));
    out.list(
      functions,
      rows,
      "No functions yet: slipway deploy makes one of a folder or an image, slipway apply those of a manifest",
    );
  });
};
