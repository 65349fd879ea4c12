import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";

/** The type of a message that tells a client of PostgreSQL of a notification. */
const NOTIFICATION = "A".charCodeAt(0);
/** The bytes of a message's type and length. */
const HEAD_BYTES = 5;

/** A network to a PostgreSQL on a socket in `directory` that lets no notification through, as a pool of connections does. */
export class MutedNetwork implements AsyncDisposable {
  readonly #server = createServer((client) => this.#join(client));
  readonly #sockets = new Set<Socket>();
  readonly #path: string;

  private constructor(directory: string) {
    this.#path = join(directory, ".s.PGSQL.5432");
  }

  static async start(directory: string): Promise<MutedNetwork> {
    const network = new MutedNetwork(directory);
    await new Promise<void>((resolve) => void network.#server.listen(0, "127.0.0.1", resolve));
    return network;
  }

  url(database: string): string {
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    return `postgres://slipway@127.0.0.1:${port}/${database}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #join(client: Socket): void {
    const database = connect({ path: this.#path });
    const muted = mute();
    client.on("data", (data) => void database.write(data));
    database.on("data", (data) => void client.write(muted(data)));
    for (const [socket, other] of [
      [client, database],
      [database, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}

/** Returns a function that takes what a database sends, piece by piece, and returns the whole messages in it but notifications. */
function mute(): (piece: Buffer) => Buffer {
  let rest = Buffer.alloc(0);
  return (piece) => {
    rest = Buffer.concat([rest, piece]);
    const passed: Buffer[] = [];
    while (rest.length >= HEAD_BYTES) {
      const end = 1 + rest.readUInt32BE(1);
      if (rest.length < end) break;
      if (rest[0] !== NOTIFICATION) passed.push(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
    return Buffer.concat(passed);
  };
}
