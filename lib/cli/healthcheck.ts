import type { Config } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import { ApiClient } from "./api-client.ts";

/** The time that the server may take to answer, in milliseconds. */
const TIMEOUT_MS = 5_000;

/** Asks the configured server whether it is ready, prints the answer, and returns the exit code. */
export async function healthcheck(config: Config): Promise<number> {
  const client = new ApiClient(config);
  const path = "/readyz";
  try {
    const { ok, text } = await client.ask({ method: "GET", path, timeout_ms: TIMEOUT_MS });
    (ok ? console.log : console.error)(text);
    return ok ? 0 : 1;
  } catch (error) {
    console.error(`slipway: no server answers at ${client.url}${path}: ${messageOf(error)}`);
    return 1;
  }
}
