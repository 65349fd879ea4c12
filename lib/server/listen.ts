import type { AnyElysia } from "elysia";
import { type Config, ConfigError } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import { HEADER_BYTES } from "../domain/limits.ts";
import { bunTimeout } from "../http/wire/idle-timeouts.ts";

/** Switches off Bun's limit, which answers 413 without a body. Ours answer with an envelope and hold no body whole. */
const BUN_BODY_BYTES = Number.MAX_SAFE_INTEGER;

/** The apps of a server: of its own port, and of the public listener if it has one. */
interface Apps {
  readonly app: AnyElysia;
  readonly publicApp: AnyElysia | undefined;
}

/** The open ports of a server. */
export interface Listeners {
  readonly url: string;
  /** The URL of the public listener; undefined without one. */
  readonly public_url: string | undefined;
  /** Closes the ports at once. Settles when all answers are out. */
  readonly close: () => Promise<unknown>;
}

/** Opens the ports. Disposing of the stack ends their connections. Throws a `ConfigError` if it cannot. */
export function listen(
  { app, publicApp }: Apps,
  { host, port, publicHost, publicPort, keepAliveMs }: Config,
  stack: AsyncDisposableStack,
): Listeners {
  allowHeaders(HEADER_BYTES);
  const open = (one: AnyElysia, address: Address): string => {
    openPort(one, address, bunTimeout(keepAliveMs));
    stack.defer(() => one.server?.stop(true));
    const { hostname } = address;
    return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${one.server?.port}`;
  };
  const url = open(app, { hostname: host, port, option: "--port or PORT" });
  const public_url =
    publicApp && publicPort !== null
      ? open(publicApp, { hostname: publicHost ?? host, port: publicPort, option: "--public-port or PUBLIC_PORT" })
      : undefined;
  return { url, public_url, close: () => Promise.all([app.server?.stop(false), publicApp?.server?.stop(false)]) };
}

/** An address to listen on, and the option that chooses its port. */
interface Address {
  readonly hostname: string;
  readonly port: number;
  readonly option: string;
}

function openPort(app: AnyElysia, { hostname, port, option }: Address, idleTimeout: number): void {
  try {
    app.listen({
      hostname,
      port,
      idleTimeout,
      // By default Bun lets a second server share the port silently.
      reusePort: false,
      maxRequestBodySize: BUN_BODY_BYTES,
      // Otherwise a bad response header ends in Bun's own HTML page.
      development: false,
    });
  } catch (error) {
    throw new ConfigError(
      `Cannot listen on ${hostname}:${port}: ${messageOf(error)}. Stop what uses the port, or choose another with ${option}.`,
      { cause: error },
    );
  }
}

/** Sets the limit for the whole process. The binary has it among its own flags (.ci/build.ts), which spares it a module of 4 ms. */
function allowHeaders(bytes: number): void {
  if (process.execArgv.includes(`--max-http-header-size=${bytes}`)) return;
  // A setter that the types do not have.
  Object.assign(process.getBuiltinModule("node:http"), { maxHeaderSize: bytes });
}
