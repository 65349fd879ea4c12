import type { Config } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import { serverUrl } from "./server-url.ts";

/** How long the server may take to answer, in milliseconds. */
const TIMEOUT_MS = 5_000;

/** Asks the server that the configuration describes whether it is ready; tells the process's exit code. */
export async function healthcheck(config: Config): Promise<number> {
  const url = `${serverUrl(config)}/readyz`;
  try {
    const reply = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await reply.text();
    (reply.ok ? console.log : console.error)(text);
    return reply.ok ? 0 : 1;
  } catch (error) {
    console.error(`slipway: no server answers at ${url}: ${messageOf(error)}`);
    return 1;
  }
}
