import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";

/** A network between servers and a PostgreSQL on a socket in `directory`, which can swallow everything. */
export class BlackHole implements AsyncDisposable {
  readonly #server = createServer({ pauseOnConnect: true }, (socket) => this.#take(socket));
  readonly #sockets = new Set<Socket>();
  readonly #held = new Set<() => void>();
  readonly #path: string;
  #isOpen = false;

  private constructor(directory: string) {
    this.#path = join(directory, ".s.PGSQL.5432");
  }

  static async start(directory: string): Promise<BlackHole> {
    const hole = new BlackHole(directory);
    await new Promise<void>((resolve) => void hole.#server.listen(0, "127.0.0.1", resolve));
    return hole;
  }

  url(database: string): string {
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    return `postgres://slipway@127.0.0.1:${port}/${database}`;
  }

  /** Swallows everything from now on, without a word to either side. */
  open(): void {
    this.#isOpen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** Lets everything through again, what came meanwhile too. */
  close(): void {
    this.#isOpen = false;
    for (const begin of this.#held) begin();
    this.#held.clear();
    for (const socket of this.#sockets) socket.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #take(client: Socket): void {
    const begin = () => {
      const database = connect({ path: this.#path });
      this.#join(client, database);
      this.#join(database, client);
    };
    if (this.#isOpen) this.#held.add(begin);
    else begin();
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on("data", (data) => void to.write(data));
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.resume();
  }
}
