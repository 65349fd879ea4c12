import type { Server } from "bun";
import type { AnyElysia } from "elysia";
import { type Config, ConfigError } from "../../config/config.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import { HEADER_BYTES } from "../../domain/limits.ts";
import { bunTimeout } from "../../http/wire/idle-timeouts.ts";
import type { Clock } from "../../clock.ts";
import type { Logger } from "../../log.ts";
import { preferNewestListener } from "./newest-listener.ts";
import { TlsFiles, type TlsPair } from "./tls-files.ts";

/** Switches off Bun's limit, which answers 413 without a body. Ours answer with an envelope and hold no body whole. */
const BUN_BODY_BYTES = Number.MAX_SAFE_INTEGER;
/** The time between two looks at the certificate, in milliseconds. */
const LOOK_MS = 1_000;
/** The time that connections of an old certificate have to finish their handshake, in milliseconds. */
const HANDSHAKE_MS = 3_000;

/** The apps of a server: of its own port, and of the public listener if it has one. */
interface Apps {
  readonly app: AnyElysia;
  readonly publicApp: AnyElysia | undefined;
}

/** What ports are opened with; the stack owns them. */
interface Tools {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly stack: AsyncDisposableStack;
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
export async function listen({ app, publicApp }: Apps, tools: Tools): Promise<Listeners> {
  const { host, port, publicHost, publicPort, keepAliveMs } = tools.config;
  allowHeaders(HEADER_BYTES);
  const files = TlsFiles.of(tools.config);
  const tls = await files?.read();
  const ports: Port[] = [];
  const open = (one: AnyElysia, address: Address): string => {
    const opened = new Port(one, address, { idleTimeout: bunTimeout(keepAliveMs), tools });
    opened.open(tls);
    tools.stack.defer(() => opened.end());
    ports.push(opened);
    return opened.url;
  };
  const url = open(app, { hostname: host, port, option: "--port or PORT" });
  const public_url =
    publicApp && publicPort !== null
      ? open(publicApp, { hostname: publicHost ?? host, port: publicPort, option: "--public-port or PUBLIC_PORT" })
      : undefined;
  if (files !== undefined) followFiles(files, ports, tools);
  return { url, public_url, close: () => Promise.all(ports.map((one) => one.close())) };
}

/** Opens the ports again with each new certificate. One that cannot be used is logged, and the old one stays. */
function followFiles(files: TlsFiles, ports: readonly Port[], { clock, log, stack }: Tools): void {
  // How often the same problem was seen: the two files are not written at the same moment, so the first time is not told.
  let seen = { problem: "", times: 0 };
  let latest: TlsPair | undefined;
  let isOver = false;
  const look = async (): Promise<void> => {
    try {
      latest = (await files.changed()) ?? latest;
      if (latest !== undefined) {
        for (const port of ports) await port.renew(latest);
        latest = undefined;
        log.info("the certificate is new");
      }
      seen = { problem: "", times: 0 };
    } catch (error) {
      const problem = messageOf(error);
      seen = { problem, times: problem === seen.problem ? seen.times + 1 : 1 };
      if (seen.times === 2) log.warn("the new certificate cannot be used, the old one stays", { problem });
    }
    if (!isOver) next.set(LOOK_MS);
  };
  const next = new Alarm(clock, () => void look());
  next.set(LOOK_MS);
  stack.defer(() => {
    isOver = true;
    next[Symbol.dispose]();
  });
}

/** An address to listen on, and the option that chooses its port. */
interface Address {
  readonly hostname: string;
  readonly port: number;
  readonly option: string;
}

/**
 * A port of a server. Bun cannot change the certificate of a listener (oven-sh/bun#43815). So a second one opens the same
 * port, gets all new connections, and then the first one closes; connections that it has stay with it until they end.
 */
class Port {
  readonly #app: AnyElysia;
  readonly #address: Address;
  readonly #options: { readonly idleTimeout: number; readonly tools: Tools };
  readonly #servers = new Set<Server<unknown>>();
  #isClosed = false;

  constructor(app: AnyElysia, address: Address, options: { readonly idleTimeout: number; readonly tools: Tools }) {
    this.#app = app;
    this.#address = address;
    this.#options = options;
  }

  /** Opens the port. Throws a `ConfigError` if it cannot. */
  open(tls: TlsPair | undefined): void {
    const { hostname, port, option } = this.#address;
    try {
      if (tls === undefined) this.#listen(port);
      else this.#listen(freePort(hostname, port), tls);
    } catch (error) {
      throw new ConfigError(
        `Cannot listen on ${hostname}:${port}: ${messageOf(error)}. Stop what uses the port, or choose another with ${option}.`,
        { cause: error },
      );
    }
  }

  get url(): string {
    const { hostname } = this.#address;
    const scheme = this.#app.server?.protocol === "https" ? "https" : "http";
    return `${scheme}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.#app.server?.port}`;
  }

  /** Lets new connections have this certificate. */
  async renew(tls: TlsPair): Promise<void> {
    const { clock, log } = this.#options.tools;
    const before = this.#app.server;
    if (before === null || this.#isClosed) return;
    const port = before.port ?? this.#address.port;
    this.#listen(port, tls);
    await preferNewestListener(port).catch((error: unknown) => {
      log.warn("connections that begin now may be reset once", { problem: messageOf(error) });
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    clock.after(HANDSHAKE_MS, resolve);
    await promise;
    if (this.#isClosed) return;
    void before.stop(false).finally(() => this.#servers.delete(before));
  }

  /** Closes the port at once. Settles when all answers are out. */
  close(): Promise<unknown> {
    this.#isClosed = true;
    return Promise.all([...this.#servers].map((server) => server.stop(false)));
  }

  /** Ends all connections. */
  async end(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#servers].map((server) => server.stop(true)));
  }

  #listen(port: number, tls?: TlsPair): void {
    const hooks = new Set(process.listeners("beforeExit"));
    // Elysia makes all routes a second time when the plug-ins that are still being loaded have come: we have none.
    Object.defineProperty(this.#app, "promisedModules", { value: new Promise(() => undefined), configurable: true });
    this.#app.listen({
      hostname: this.#address.hostname,
      port,
      idleTimeout: this.#options.idleTimeout,
      // By default Bun lets a second server share the port silently.
      reusePort: tls !== undefined,
      ...(tls && { tls }),
      maxRequestBodySize: BUN_BODY_BYTES,
      // Otherwise a bad response header ends in Bun's own HTML page.
      development: false,
    });
    // Elysia adds one at each call; we stop the servers ourselves.
    for (const hook of process.listeners("beforeExit")) if (!hooks.has(hook)) process.off("beforeExit", hook);
    if (this.#app.server) this.#servers.add(this.#app.server);
  }
}

/** Returns a port that no other program listens on, which sharing it would not show. Throws if this one is taken. */
function freePort(hostname: string, port: number): number {
  const probe = Bun.serve({ hostname, port, reusePort: false, fetch: () => new Response() });
  void probe.stop(true);
  return probe.port ?? port;
}

/** Sets the limit for the whole process. The binary has it among its own flags (.ci/build.ts), which spares it a module of 4 ms. */
function allowHeaders(bytes: number): void {
  if (process.execArgv.includes(`--max-http-header-size=${bytes}`)) return;
  // A setter that the types do not have.
  Object.assign(process.getBuiltinModule("node:http"), { maxHeaderSize: bytes });
}
