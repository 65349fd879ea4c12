import { readFile } from "node:fs/promises";
import { type Config, ConfigError, type Variables } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import type { AppliedManifest, ApplyOptions } from "../domain/manifest/manifest.ts";
import { linesOf } from "../domain/manifest/lines.ts";
import { variablesIn } from "../domain/manifest/variables.ts";
import { serverUrl } from "./server-url.ts";

/** How long the server may take, in milliseconds: it may have many images to pull. */
const APPLY_MS = 3_600_000;
const EXPORT_MS = 60_000;

/** What `slipway apply` ends with where a dry run found something to do; 1 and 2 are errors. */
const WOULD_CHANGE = 3;

interface ApplyCommand extends ApplyOptions {
  readonly config: Config;
  /** `-` is standard input. */
  readonly file: string;
}

/**
 * Has the server that the configuration describes apply a manifest, with those variables of the environment that it
 * mentions, and prints what has changed; tells the process's exit code.
 */
export async function applyManifest(command: ApplyCommand, env: Variables): Promise<number> {
  const { config, dry_run, prune, pull } = command;
  const manifest = await read(command.file);
  const variables = Object.fromEntries([...variablesIn(manifest)].map((name) => [name, env[name]]));
  const body = JSON.stringify({ manifest, variables, dry_run, prune, pull });
  const text = await ask(config, "/v1/apply", { method: "POST", body, timeout_ms: APPLY_MS });
  if (text === undefined) return 1;
  const applied = (JSON.parse(text) as { data: AppliedManifest }).data; // what the API promises
  for (const line of linesOf(applied)) console.log(line);
  return applied.dry_run && applied.changes.some(({ action }) => action !== "unchanged") ? WOULD_CHANGE : 0;
}

/** Prints a server's manifest as YAML; tells the process's exit code. */
export async function exportManifest(config: Config): Promise<number> {
  const text = await ask(config, "/v1/export", { method: "GET", timeout_ms: EXPORT_MS });
  if (text === undefined) return 1;
  console.log(text.trimEnd());
  return 0;
}

async function read(file: string): Promise<string> {
  try {
    return await (file === "-" ? Bun.stdin.text() : readFile(file, "utf8"));
  } catch (error) {
    throw new ConfigError(`Cannot read the manifest "${file}": ${messageOf(error)}`, { cause: error });
  }
}

/** The body of the answer; undefined where there is none, which has been said. */
async function ask(
  config: Config,
  path: string,
  request: { readonly method: string; readonly body?: string; readonly timeout_ms: number },
): Promise<string | undefined> {
  const url = serverUrl(config);
  const { method, body, timeout_ms } = request;
  const key = config.apiKeyFile === null ? config.apiKey : (await readKey(config.apiKeyFile)).trim();
  try {
    const reply = await fetch(url + path, {
      method,
      ...(body !== undefined && { body }),
      headers: {
        Accept: "application/yaml, application/json",
        ...(key !== null && { Authorization: `Bearer ${key}` }),
      },
      signal: AbortSignal.timeout(timeout_ms),
      // Beside the signal: Bun gives up a connection that is silent for five minutes.
      timeout: timeout_ms,
    });
    const text = await reply.text();
    if (reply.ok) return text;
    console.error(`slipway: ${messageIn(text)}`);
  } catch (error) {
    console.error(`slipway: no answer from ${url}: ${messageOf(error)}. Name the server with --host and --port`);
  }
  return undefined;
}

async function readKey(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new ConfigError(`Cannot read API_KEY_FILE "${file}": ${messageOf(error)}`, { cause: error });
  }
}

function messageIn(text: string): string {
  try {
    return (JSON.parse(text) as { message: string }).message; // the envelope of an error
  } catch {
    return text;
  }
}
