import { freePort } from "../../support/ports/free-port.ts";
import { type PrivatePostgres, startPostgres } from "../../support/postgres/private-postgres.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

/** A database that servers share, each at an address of its own. */
export interface Cluster extends AsyncDisposable {
  readonly postgres: PrivatePostgres;
  /** The SECRET_KEY of all its servers. */
  readonly key: Uint8Array;
  /** Starts a server under this id, which the others reach at its URL. */
  start(id: string, variables?: Readonly<Record<string, string>>): Promise<SpawnedServer>;
}

/** Starts a database without servers. */
export async function startCluster(): Promise<Cluster> {
  const postgres = await startPostgres();
  await postgres.run("create database slipway");
  const key = crypto.getRandomValues(new Uint8Array(32));
  return {
    postgres,
    key,
    start: (id, variables = {}) => {
      // It has to know its port before it has one.
      const port = freePort();
      return SpawnedServer.start({
        DATABASE_URL: postgres.url("slipway"),
        SECRET_KEY: Buffer.from(key).toString("base64"),
        SERVER_ID: id,
        PORT: String(port),
        ADVERTISE_URL: `http://127.0.0.1:${port}`,
        ...variables,
      });
    },
    [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose](),
  };
}
