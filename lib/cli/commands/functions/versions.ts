import type { FunctionVersion } from "../../../domain/functions/versions.ts";
import { about, segment } from "../../api/names.ts";
import { firstOf } from "../../api/pages.ts";
import { count } from "../../option-readers.ts";
import { relativeTime } from "../../output/quantities.ts";
import type { Define } from "../../tools.ts";

/** `slipway versions`: the versions of a function, newest first. */
export const define: Define = (command, { client, out }) => {
  command
    .argument("<function>", "Its name or id.")
    .option("-n, --limit <count>", "The most versions to list.", count, 20)
    .action(async (name, { limit }) => {
      const server = client();
      const path = `/v1/functions/${segment("function", name)}/versions`;
      const versions = await about(server, "function", name, () =>
        firstOf<FunctionVersion>(server, { method: "GET", path }, "versions", limit),
      );
      const rows = versions.map(({ version, current, image, digest, created_at }) => ({
        version,
        current: current ? "yes" : "",
        image,
        digest: digest?.split("@")[1]?.slice(0, "sha256:".length + 12),
        created: relativeTime(created_at),
      }));
      out.list(versions, rows, "No versions");
    });
};
