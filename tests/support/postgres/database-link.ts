import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

interface Connection {
  readonly client: Socket;
  readonly database: Socket;
  /** Bytes that came while the network was cut. */
  readonly held: (() => void)[];
}

/** The network between a server and a PostgreSQL on a socket: it can be cut, and whoever uses it does not notice by itself. */
export class DatabaseLink implements AsyncDisposable {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #isCut = false;
  #port = 0;

  private constructor(directory: string) {
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client, directory));
  }

  /** Starts a link to the PostgreSQL whose socket is in a directory. */
  static async start(directory: string): Promise<DatabaseLink> {
    const link = new DatabaseLink(directory);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    link.#server.once("error", reject);
    link.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    const address = link.#server.address();
    if (typeof address === "object" && address !== null) link.#port = address.port;
    return link;
  }

  /** Returns the URL of a database through this link. */
  url(database: string): string {
    return `postgres://slipway@127.0.0.1:${this.#port}/${database}`;
  }

  /** Passes on nothing any more, in either direction, and says so to nobody. */
  cut(): void {
    this.#isCut = true;
  }

  /** Passes on again, first what was sent meanwhile; with `reset`, connections from before have been given up. */
  heal({ reset }: { readonly reset: boolean }): void {
    this.#isCut = false;
    for (const connection of this.#connections) {
      if (reset) end(connection);
      for (const pass of connection.held.splice(0)) pass();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const connection of this.#connections) end(connection);
    await promise;
  }

  #accept(client: Socket, directory: string): void {
    const connection = {
      client,
      database: connect({ path: join(directory, ".s.PGSQL.5432"), allowHalfOpen: true }),
      held: [],
    };
    this.#connections.add(connection);
    this.#join(connection, client, connection.database);
    this.#join(connection, connection.database, client);
  }

  #join(connection: Connection, from: Socket, to: Socket): void {
    const pass = (run: () => void) => void (this.#isCut ? connection.held.push(run) : run());
    from.on("data", (bytes: Buffer) => pass(() => void to.write(bytes)));
    from.on("end", () => pass(() => void to.end()));
    from.on("error", () => from.destroy());
    from.on("close", () =>
      pass(() => {
        to.destroy();
        this.#connections.delete(connection);
      }),
    );
  }
}

function end({ client, database, held }: Connection): void {
  held.length = 0;
  client.destroy();
  database.destroy();
}
