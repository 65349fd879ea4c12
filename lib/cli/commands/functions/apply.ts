import { dirname, resolve } from "node:path";
import { ConfigError, type Variables } from "../../../config/config.ts";
import { AppError } from "../../../domain/errors.ts";
import type { Converted } from "../../../domain/foreign/convert.ts";
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
    .description(
      "Apply FILE to the server, with the variables of this environment, and print the changes. FILE can also be a stack.yml of OpenFaaS, " +
        "services of Knative or Cloud Run, or a compose file whose functions have labels slipway.*: what has no counterpart is listed.",
    )
    .argument("[FILE]", "The manifest; - for standard input.", "slipway.yaml")
    .option("-f, --file <FILE>", "The same as FILE.")
    .option("--strict", "Change nothing if a file of another platform has parts without a counterpart.")
    .action(async (argument, { file: named, strict }) => {
      const file = named ?? argument;
      const text = await read(file);
      const converted = await convert(text, file, env);
      const notes = converted?.notes ?? [];
      for (const { path, problem } of notes) out.note(`! ${path}: ${problem}`);
      if (strict === true && notes.length > 0) {
        const parts = notes.length === 1 ? "One part" : `${notes.length} parts`;
        const have = notes.length === 1 ? "has" : "have";
        throw new ConfigError(
          `${parts} of the ${converted?.kind} ${have} no counterpart, so nothing was applied: leave out --strict`,
        );
      }
      const manifest = converted?.manifest ?? text;
      const variables =
        converted === undefined ? Object.fromEntries([...variablesIn(text)].map((name) => [name, env[name]])) : {};
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

/** Converts a file of another platform; files that it names are looked for beside it. */
async function convert(text: string, file: string, env: Variables): Promise<Converted | undefined> {
  // A manifest says its version, and names no provider.
  if (!/(?:^|[{,])\s*["']?(?:apiVersion|provider|services)["']?\s*:/m.test(text)) return undefined;
  const { convertForeign } = await import("../../../domain/foreign/convert.ts");
  const folder = file === "-" ? "." : dirname(file);
  try {
    return await convertForeign(text, env, (path) => read(resolve(folder, path)));
  } catch (error) {
    if (error instanceof AppError) throw new ConfigError(error.message, { cause: error });
    throw error;
  }
}

async function read(file: string): Promise<string> {
  try {
    return await (file === "-"
      ? Bun.stdin.text()
      : process.getBuiltinModule("node:fs/promises").readFile(file, "utf8"));
  } catch (error) {
    throw new ConfigError(`Cannot read the manifest "${file}": ${fileProblem(error)}`, { cause: error });
  }
}
