import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { AnswerSeal } from "../../../../lib/services/cluster/wire/answer-seal.ts";

/** A request that has arrived, and what can be done to it. */
export interface Arrived {
  readonly socket: Socket;
  /** Signs an answer as the server would that was asked. */
  readonly seal: AnswerSeal;
}

/** What is sent back: raw bytes. */
export type Behaviour = (arrived: Arrived) => void;

/** A program at the address of another server that answers as it likes. It may have the key of the servers. */
export class HostileServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** The requests that have come, as they were. */
  readonly requests: Buffer[] = [];

  private constructor(key: Uint8Array, behave: Behaviour) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
      let got = Buffer.alloc(0);
      socket.on("data", (data) => {
        got = Buffer.concat([got, data]);
        const end = lengthOf(got);
        if (end === undefined || got.length < end) return;
        this.requests.push(got);
        const signature = /^x-slipway-hop-signature: ([0-9a-f]+)/im.exec(got.toString("latin1"))?.[1] ?? "";
        got = Buffer.alloc(0);
        behave({ socket, seal: new AnswerSeal(key, Buffer.from(signature, "hex")) });
      });
    });
  }

  static async start(key: Uint8Array, behave: Behaviour): Promise<HostileServer> {
    const server = new HostileServer(key, behave);
    await new Promise<void>((resolve) => void server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    return `http://127.0.0.1:${port}`;
  }

  /** Resolves when nobody is connected. */
  async left(): Promise<void> {
    while (this.#sockets.size > 0) {
      const [socket] = this.#sockets;
      await new Promise<void>((resolve) => void socket?.once("close", () => resolve()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }
}

/** Returns the length of a request with its body; undefined if that is not known yet. */
function lengthOf(request: Buffer): number | undefined {
  const end = request.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const length = /^content-length: (\d+)/im.exec(request.toString("latin1", 0, end))?.[1] ?? "0";
  return end + 4 + Number(length);
}

/** Writes the head of an HTTP answer whose body ends with the connection. */
export function head(socket: Socket, status = "200 OK", headers: readonly string[] = []): void {
  socket.write([`HTTP/1.1 ${status}`, "Connection: close", ...headers, "", ""].join("\r\n"));
}

/** Writes the same bytes again and again, as fast as they are taken, until the connection ends. */
export function endless(socket: Socket, bytes: string): void {
  const block = Buffer.from(bytes.repeat(Math.ceil(65_536 / bytes.length)));
  const write = (): void => {
    while (!socket.destroyed) if (!socket.write(block)) return void socket.once("drain", write);
  };
  write();
}
