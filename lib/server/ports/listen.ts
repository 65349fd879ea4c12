import type { Server } from "bun";
import { type Config, ConfigError } from "../../config/config.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import { HEADER_BYTES } from "../../domain/limits.ts";
import type { ServedApp } from "../../http/app.ts";
import { SOCKETS } from "../../http/front/front.ts";
import { lastAnswersOf, type Serving } from "../../http/front/serving.ts";
import { bunTimeout } from "../../http/wire/idle-timeouts.ts";
import type { Clock } from "../../clock.ts";
import type { Logger } from "../../log.ts";
import { type Address, listenProblem } from "./listen-problem.ts";
import { preferNewestListener } from "./newest-listener.ts";
import { TlsFiles, type TlsPair } from "./tls-files.ts";

/** Switches off Bun's limit, which answers 413 without a body. Ours answer with an envelope and hold no body whole. */
const BUN_BODY_BYTES = Number.MAX_SAFE_INTEGER;
/** The time between two looks at the certificate, in milliseconds. */
const LOOK_MS = 1_000;
/** The time that connections of an old certificate have to finish their handshake, in milliseconds. */
const HANDSHAKE_MS = 3_000;

/** The apps of a server: of its own port, and of the public listener if it has one. */
export interface Apps {
  readonly app: ServedApp;
  readonly publicApp: ServedApp | undefined;
}

/** The tools of ports. */
interface Tools {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The open ports of a server. Disposing of them ends their connections. */
export interface Listeners extends AsyncDisposable {
  readonly url: string;
  /** The URL of the public listener; undefined without one. */
  readonly public_url: string | undefined;
  /** Serves the apps from now on, in place of what the ports were opened with. */
  readonly serve: (apps: Apps) => void;
  /**
   * Ends each connection with its next answer from now on. A client that keeps one, or the balancer of a network that only sees
   * connections, would otherwise send a request just as the port closes, and not know what has become of it.
   */
  readonly leave: () => void;
  /** Closes the ports at once. Settles when all answers are out. */
  readonly close: () => Promise<unknown>;
}

/** The first answers of each port, until its app is there. */
type Fronts = { readonly [name in keyof Apps]: Serving };

/** Opens the ports. Throws a `ConfigError` if it cannot. */
export async function listen(fronts: Fronts, tools: Tools): Promise<Listeners> {
  const { host, port, publicHost, publicPort, keepAliveMs } = tools.config;
  allowHeaders(HEADER_BYTES);
  const files = TlsFiles.of(tools.config);
  const tls = await files?.read();
  await using stack = new AsyncDisposableStack();
  const open = (front: Serving, address: Address): Port => {
    const opened = stack.use(new Port(front, address, { idleTimeout: bunTimeout(keepAliveMs), tools }));
    opened.open(tls);
    return opened;
  };
  const own = open(fronts.app, { hostname: host, port, option: "--port or PORT" });
  const open_to_all =
    publicPort === null
      ? undefined
      : open(fronts.publicApp, {
          hostname: publicHost ?? host,
          port: publicPort,
          option: "--public-port or PUBLIC_PORT",
        });
  const ports = open_to_all === undefined ? [own] : [own, open_to_all];
  if (files !== undefined) followFiles(files, ports, { ...tools, stack });
  const opened = stack.move();
  return {
    url: own.url,
    public_url: open_to_all?.url,
    serve: ({ app, publicApp }) => {
      own.serve(app);
      if (publicApp !== undefined) open_to_all?.serve(publicApp);
    },
    leave: () => {
      for (const one of ports) one.leave();
    },
    close: () => Promise.all(ports.map((one) => one.close())),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

/** Opens the ports again with each new certificate. One that cannot be used is logged, and the old one stays. */
function followFiles(
  files: TlsFiles,
  ports: readonly Port[],
  { clock, log, stack }: Tools & { readonly stack: AsyncDisposableStack },
): void {
  // Counts how often the same problem was seen: the two files are not written at the same moment, so the first time is not logged.
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

/**
 * A port of a server. Bun cannot change the certificate of a listener (oven-sh/bun#43815). So a second one opens the same
 * port, gets all new connections, and then the first one closes; connections that it has stay with it until they end.
 */
class Port implements AsyncDisposable {
  readonly #address: Address;
  readonly #options: { readonly idleTimeout: number; readonly tools: Tools };
  /** All listeners that are open; the last one gets the new connections. */
  readonly #servers = new Set<Server<unknown>>();
  #serving: Serving;
  #app: ServedApp | undefined;
  #server: Server<unknown> | undefined;
  #isClosed = false;

  /** It serves `front` until it has an app. */
  constructor(front: Serving, address: Address, options: { readonly idleTimeout: number; readonly tools: Tools }) {
    this.#serving = front;
    this.#address = address;
    this.#options = options;
  }

  /** Opens the port. Throws a `ConfigError` if it cannot. */
  open(tls: TlsPair | undefined): void {
    const { hostname, port } = this.#address;
    try {
      if (tls === undefined) this.#listen(port);
      else this.#listen(freePort(hostname, port), tls);
    } catch (error) {
      throw new ConfigError(listenProblem(error, this.#address), { cause: error });
    }
  }

  get url(): string {
    const { hostname } = this.#address;
    const scheme = this.#server?.protocol === "https" ? "https" : "http";
    return `${scheme}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.#server?.port}`;
  }

  /** Serves an app from now on. */
  serve(app: ServedApp): void {
    this.#app = app;
    app.app.server = this.#server ?? null;
    this.#change(app);
  }

  /** Ends each connection with its next answer. */
  leave(): void {
    this.#change(lastAnswersOf(this.#serving));
  }

  /** Lets new connections have this certificate. */
  async renew(tls: TlsPair): Promise<void> {
    const { clock, log } = this.#options.tools;
    const before = this.#server;
    if (before === undefined || this.#isClosed) return;
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
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#servers].map((server) => server.stop(true)));
  }

  #change(serving: Serving): void {
    this.#serving = serving;
    if (!this.#isClosed) for (const server of this.#servers) server.reload(this.#handlers());
  }

  #listen(port: number, tls?: TlsPair): void {
    this.#server = Bun.serve({
      ...this.#handlers(),
      hostname: this.#address.hostname,
      port,
      idleTimeout: this.#options.idleTimeout,
      // By default Bun lets a second server share the port silently.
      reusePort: tls !== undefined,
      ...(tls && { tls }),
      maxRequestBodySize: BUN_BODY_BYTES,
    });
    this.#servers.add(this.#server);
    if (this.#app !== undefined) this.#app.app.server = this.#server;
  }

  #handlers() {
    const { routes, fetch } = this.#serving;
    // Otherwise a bad response header ends in Bun's own HTML page.
    return { routes, fetch, websocket: SOCKETS, development: false } as const;
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
