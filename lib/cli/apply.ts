import { type Config, ConfigError, type Variables } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import { linesOf } from "../domain/manifest/lines.ts";
import type { AppliedManifest, ApplyOptions } from "../domain/manifest/manifest.ts";
import { variablesIn } from "../domain/manifest/variables.ts";
import { ApiClient } from "./api-client.ts";

/** The time that the server may take, in milliseconds: it may have many images to pull. */
const TIMEOUT_MS = 3_600_000;

/** The exit code of a dry run that found changes; 1 and 2 are errors. */
const WOULD_CHANGE = 3;

interface ApplyCommand extends ApplyOptions {
  readonly config: Config;
  /** `-` is standard input. */
  readonly file: string;
}

/**
 * Has the configured server apply a manifest, with the variables of the environment that it mentions. Prints the changes
 * and returns the exit code.
 */
export async function applyFile(command: ApplyCommand, env: Variables): Promise<number> {
  const { config, dry_run, prune, pull } = command;
  const manifest = await read(command.file);
  const variables = Object.fromEntries([...variablesIn(manifest)].map((name) => [name, env[name]]));
  const body = JSON.stringify({ manifest, variables, dry_run, prune, pull });
  const text = await new ApiClient(config).call({ method: "POST", path: "/v1/apply", body, timeout_ms: TIMEOUT_MS });
  const applied = (JSON.parse(text) as { data: AppliedManifest }).data; // what the API promises
  for (const line of linesOf(applied)) console.log(line);
  return applied.dry_run && applied.changes.some(({ action }) => action !== "unchanged") ? WOULD_CHANGE : 0;
}

async function read(file: string): Promise<string> {
  try {
    return await (file === "-"
      ? Bun.stdin.text()
      : process.getBuiltinModule("node:fs/promises").readFile(file, "utf8"));
  } catch (error) {
    throw new ConfigError(`Cannot read the manifest "${file}": ${messageOf(error)}`, { cause: error });
  }
}
