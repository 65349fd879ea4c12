import { messageOf } from "../../../domain/errors.ts";
import { ApiClient } from "../../api/api-client.ts";
import { configuredConnection } from "../../api/connection.ts";
import { CommandError } from "../../exit-codes.ts";
import type { Define } from "../../tools.ts";

/** The time that the server may take to answer, in milliseconds. */
const TIMEOUT_MS = 5_000;

const PATH = "/readyz";

/**
 * `slipway healthcheck`: asks the server that the options describe whether it is ready. Saved logins do not count: supervisors run
 * it in the environment of their server.
 */
export const define: Define = (command, { config, out }) => {
  command.action(async () => {
    const client = new ApiClient(configuredConnection(config()));
    const { ok, text } = await ask(client);
    if (!ok) throw new CommandError(text);
    out.line(text);
  });
};

async function ask(client: ApiClient): Promise<{ readonly ok: boolean; readonly text: string }> {
  try {
    const response = await client.ask({ method: "GET", path: PATH, timeout_ms: TIMEOUT_MS });
    return { ok: response.ok, text: await response.text() };
  } catch (error) {
    throw new CommandError(`no server answers at ${client.url}${PATH}: ${messageOf(error)}`, 1, { cause: error });
  }
}
