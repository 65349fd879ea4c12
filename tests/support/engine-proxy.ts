import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A request that passes the proxy. */
export interface ProxiedRequest {
  /** Counted from 1, from the start of the proxy or the last `use()`. */
  readonly number: number;
  readonly method: string;
  /** The path with its query, without the version. */
  readonly path: string;
}

/**
 * The proxy's treatment of a request.
 *
 * - `pass`: forwards it and returns the reply.
 * - `reset`: closes the connection without forwarding. `hang`: does nothing.
 * - `garbage`: replies with bytes that are not HTTP. `error`: replies with HTTP 500.
 * - `lose`: forwards it, drops the reply and closes the connection. `stall`: the same, but keeps the connection open.
 * - `cut`: returns this many bytes of the reply, then closes the connection.
 * - `swap`: forwards it with another word of the same length in the place of one, and returns the reply.
 * - `upload`, `download`: passes on this many bytes of the request or of the reply, then stops reading.
 * - `lines`: passes on the reply line by line, and stops reading after the line with which all lines so far are enough.
 * - `after`: forwards it once something has happened, and returns the reply.
 */
export type Fault = "pass" | "reset" | "hang" | "garbage" | "error" | "lose" | "stall" | PartialFault | LateFault;
type PartialFault =
  | { readonly swap: readonly [string, string] }
  | { readonly cut: number }
  | { readonly upload: number }
  | { readonly download: number }
  | { readonly lines: (passed: readonly string[]) => boolean };
type LateFault = { readonly after: Promise<unknown> };

/** Chooses the fault of each request. */
export type Rule = (request: ProxiedRequest) => Fault;

/** A proxy between a server under test and its engine that injects faults. */
export class EngineProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #directory: string;
  readonly #upstream: string;
  readonly #sockets = new Set<Socket>();
  readonly #watchers = new Set<(request: ProxiedRequest) => void>();
  #rule: Rule = () => "pass";
  #count = 0;
  #passed = 0;

  private constructor(directory: string, upstream: string) {
    this.#directory = directory;
    this.#upstream = upstream;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /** Starts a proxy for the engine at this socket. */
  static async start(upstream: string): Promise<EngineProxy> {
    const proxy = new EngineProxy(await mkdtemp(join(tmpdir(), "slipway-proxy-")), upstream);
    await proxy.listen();
    return proxy;
  }

  /** The value for DOCKER_HOST. */
  get host(): string {
    return `unix://${this.#directory}/docker.sock`;
  }

  /** Requests since the start or the last `use()`. */
  get count(): number {
    return this.#count;
  }

  /** Bytes that `upload` and `download` have let through since then. */
  get passed(): number {
    return this.#passed;
  }

  /** Sets the rule from now on and closes open connections, as if the engine had died. */
  use(rule: Fault | Rule): void {
    this.change(rule);
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Sets the rule for new requests only; open connections continue. */
  change(rule: Fault | Rule): void {
    this.#rule = typeof rule === "function" ? rule : () => rule;
    this.#count = 0;
    this.#passed = 0;
  }

  /** Returns the next request that matches, before it is forwarded in the next tick. */
  next(matches: (request: ProxiedRequest) => boolean): Promise<ProxiedRequest> {
    const { promise, resolve } = Promise.withResolvers<ProxiedRequest>();
    const watcher = (request: ProxiedRequest) => {
      if (!matches(request)) return;
      this.#watchers.delete(watcher);
      resolve(request);
    };
    this.#watchers.add(watcher);
    return promise;
  }

  /** Starts to listen, also after `close()`. */
  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(join(this.#directory, "docker.sock"), resolve);
    await promise;
  }

  /** Disappears like an engine that dies, including its socket. */
  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const socket of this.#sockets) socket.destroy();
    await promise;
    await rm(join(this.#directory, "docker.sock"), { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #accept(client: Socket): void {
    this.#track(client);
    let head = Buffer.alloc(0);
    const read = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end === -1) return;
      client.off("data", read);
      client.pause();
      this.#take(client, head.subarray(0, end).toString("latin1"), head.subarray(end));
    };
    client.on("data", read);
  }

  #take(client: Socket, head: string, rest: Buffer): void {
    const [method = "", target = ""] = head.split(" ");
    const request = { number: ++this.#count, method, path: target.replace(/^\/v[\d.]+(?=\/)/, "") };
    const fault = this.#rule(request);
    for (const watch of this.#watchers) watch(request);
    switch (fault) {
      case "reset":
        client.destroy();
        return;
      case "hang":
        client.resume();
        return;
      case "garbage":
        client.end(Buffer.from("\u0000\u0001 no HTTP at all \r\n\r\n{\u00ff"));
        client.resume();
        return;
      case "error":
        client.end(errorReply('{"message":"the proxy says so"}'));
        client.resume();
        return;
      default: {
        const bytes = Buffer.concat([Buffer.from(oneRequest(head), "latin1"), rest]);
        if (typeof fault === "object" && "after" in fault)
          void fault.after.then(() => client.destroyed || this.#forward(client, bytes, "pass"));
        else this.#forward(client, bytes, fault);
      }
    }
  }

  #forward(client: Socket, bytes: Buffer, fault: "pass" | "lose" | "stall" | PartialFault): void {
    const engine = connect({ path: this.#upstream, allowHalfOpen: true });
    this.#track(engine);
    engine.on("close", () => (fault === "stall" ? undefined : client.destroy()));
    client.on("close", () => engine.destroy());
    const swap = typeof fault === "object" && "swap" in fault ? fault.swap : undefined;
    engine.write(swapped(bytes, swap));
    if (typeof fault === "object" && "upload" in fault) this.#passOnly(client, engine, fault.upload);
    else if (swap !== undefined) client.on("data", (chunk: Buffer) => engine.write(swapped(chunk, swap))).resume();
    else client.pipe(engine);
    if (fault === "stall") engine.resume();
    else if (fault === "lose") engine.once("data", () => client.destroy());
    else if (typeof fault === "object" && "cut" in fault)
      this.#passOnly(engine, client, fault.cut, () => client.destroy());
    else if (typeof fault === "object" && "download" in fault) this.#passOnly(engine, client, fault.download);
    else if (typeof fault === "object" && "lines" in fault) this.#passLines(engine, client, fault.lines);
    else engine.pipe(client);
  }

  /** Passes on this many bytes and stops reading; `then` runs when they have been written. */
  #passOnly(from: Socket, to: Socket, bytes: number, then: () => void = () => undefined): void {
    let left = bytes;
    from.on("data", (chunk: Buffer) => {
      const part = chunk.subarray(0, left);
      left -= part.length;
      this.#passed += part.length;
      to.write(part, left > 0 ? undefined : then);
      if (left === 0) from.pause();
    });
    from.resume();
  }

  /** Passes on lines until they are enough, then stops reading; a line counts when its end has come. */
  #passLines(from: Socket, to: Socket, enough: (passed: readonly string[]) => boolean): void {
    const passed: string[] = [];
    let line = "";
    from.on("data", (chunk: Buffer) => {
      for (const part of chunk.toString("latin1").split(/(?<=\n)/)) {
        to.write(part, "latin1");
        line += part;
        if (!line.endsWith("\n")) continue;
        passed.push(line);
        line = "";
        if (!enough(passed)) continue;
        from.pause();
        return;
      }
    });
    from.resume();
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    // A failed connection counts as closed.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

/** Asks for one request per connection, so that each can have its own fault; an upgrade has its own `Connection` header. */
function oneRequest(head: string): string {
  if (/^connection:\s*upgrade/im.test(head)) return head;
  return `${head.replace(/\r\nconnection:[^\r]*/gi, "")}\r\nConnection: close`;
}

/** Returns bytes with all that is one word made another. A word that two chunks share stays. */
function swapped(bytes: Buffer, swap: readonly [string, string] | undefined): Buffer {
  return swap === undefined ? bytes : Buffer.from(bytes.toString("latin1").replaceAll(...swap), "latin1");
}

function errorReply(body: string): string {
  return `HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
}
