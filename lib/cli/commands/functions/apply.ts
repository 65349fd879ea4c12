import { ConfigError } from "../../../config/config.ts";
import { linesOf } from "../../../domain/manifest/lines.ts";
import type { AppliedManifest } from "../../../domain/manifest/manifest.ts";
import { variablesIn } from "../../../domain/manifest/variables.ts";
import { EXIT } from "../../exit-codes.ts";
import { fileProblem } from "../../file-problem.ts";
import type { Define } from "../../tools.ts";

/** The time that the server may take, in milliseconds: it may have many images to pull. */
const TIMEOUT_MS = 3_600_000;

/** `slipway apply`: has the server apply a manifest, with the variables of the environment that it mentions. */
export const define: Define = (command, { env, client, out, exitWith, isSet }) => {
  command
    .description("Apply FILE to the server, with the variables of this environment, and print the changes")
    .argument("[FILE]", "The manifest; - for standard input.", "slipway.yaml")
    .action(async (file) => {
      const manifest = await read(file);
      const variables = Object.fromEntries([...variablesIn(manifest)].map((name) => [name, env[name]]));
      const options = {
        dry_run: isSet("dry-run"),
        prune: isSet("prune"),
        pull: isSet("pull"),
        ...(isSet("skip-probe") && { probe: false }),
      };
      const body = { manifest, variables, ...options };
      const request = { method: "POST", path: "/v1/apply", body, timeout_ms: TIMEOUT_MS } as const;
      const applied = await client().data<AppliedManifest>(request);
      if (out.json) out.value(applied);
      else for (const line of linesOf(applied)) out.line(line);
      if (applied.dry_run && applied.changes.some(({ action }) => action !== "unchanged")) exitWith(EXIT.would_change);
    });
};

async function read(file: string): Promise<string> {
  try {
    return await (file === "-"
      ? Bun.stdin.text()
      : process.getBuiltinModule("node:fs/promises").readFile(file, "utf8"));
  } catch (error) {
    throw new ConfigError(`Cannot read the manifest "${file}": ${fileProblem(error)}`, { cause: error });
  }
}
