import type { AnyElysia } from "elysia";
import { type Config, ConfigError } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import { HEADER_BYTES } from "../domain/limits.ts";
import { bunTimeout } from "../http/wire/idle-timeouts.ts";

/** Switches off Bun's limit, which answers 413 without a body. Ours answer with an envelope and hold no body whole. */
const BUN_BODY_BYTES = Number.MAX_SAFE_INTEGER;

/** Opens the port and returns the server's URL. Throws a `ConfigError` if it cannot. */
export function listen(
  app: AnyElysia,
  { host, port, keepAliveMs }: Pick<Config, "host" | "port" | "keepAliveMs">,
): string {
  try {
    allowHeaders(HEADER_BYTES);
    app.listen({
      hostname: host,
      port,
      // By default Bun lets a second server share the port silently.
      reusePort: false,
      idleTimeout: bunTimeout(keepAliveMs),
      maxRequestBodySize: BUN_BODY_BYTES,
      // Otherwise a bad response header ends in Bun's own HTML page.
      development: false,
    });
  } catch (error) {
    throw new ConfigError(
      `Cannot listen on ${host}:${port}: ${messageOf(error)}. Stop what uses the port, or choose another with --port or PORT.`,
      { cause: error },
    );
  }
  return `http://${host.includes(":") ? `[${host}]` : host}:${app.server?.port}`;
}

/** Sets the limit for the whole process. The binary has it among its own flags (.ci/build.ts), which spares it a module of 4 ms. */
function allowHeaders(bytes: number): void {
  if (process.execArgv.includes(`--max-http-header-size=${bytes}`)) return;
  // A setter that the types do not have.
  Object.assign(process.getBuiltinModule("node:http"), { maxHeaderSize: bytes });
}
