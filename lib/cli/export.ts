import type { Config } from "../config/config.ts";
import { ApiClient } from "./api-client.ts";

/** The time that the server may take, in milliseconds. */
const TIMEOUT_MS = 60_000;

/** Prints the configured server's manifest as YAML and returns the exit code. */
export async function printExport(config: Config): Promise<number> {
  const text = await new ApiClient(config).call({ method: "GET", path: "/v1/export", timeout_ms: TIMEOUT_MS });
  console.log(text.trimEnd());
  return 0;
}
