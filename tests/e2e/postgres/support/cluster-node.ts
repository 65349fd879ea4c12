import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseLink } from "../../../support/postgres/database-link.ts";
import type { PrivatePostgres } from "../../../support/postgres/private-postgres.ts";
import { SpawnedServer } from "../../../support/spawned-server.ts";
import { type KillableEngine, startKillableEngine } from "../../faults/support/killable-engine.ts";
import type { Submitter } from "../../faults/support/submitter.ts";

/** The name of the database that the servers of a cluster share. */
export const DATABASE = "slipway";
/** The key of all servers. */
const SECRET_KEY = "c".repeat(64);
/** The pause before a server is started again that did not start, in milliseconds: as a supervisor does. */
const AGAIN_MS = 500;

/** A machine of a cluster: an engine, a server, and the network between it and PostgreSQL. Its server is started again when it ends. */
export class ClusterNode implements AsyncDisposable {
  readonly id: string;
  readonly engine: KillableEngine;
  readonly link: DatabaseLink;
  readonly #directory: string;
  #server: SpawnedServer | undefined;

  private constructor(id: string, parts: { engine: KillableEngine; link: DatabaseLink; directory: string }) {
    this.id = id;
    this.engine = parts.engine;
    this.link = parts.link;
    this.#directory = parts.directory;
  }

  /** Starts the engine of a machine, with an image of a registry in it, and the network; not yet the server. */
  static async create(id: string, postgres: PrivatePostgres, image: string): Promise<ClusterNode> {
    await using made = new AsyncDisposableStack();
    const engine = made.use(await startKillableEngine());
    await engine.client.progress("POST", `/images/create?fromImage=${encodeURIComponent(image)}`);
    const link = made.use(await DatabaseLink.start(postgres.directory));
    const directory = await mkdtemp(join(tmpdir(), "slipway-node-"));
    made.move();
    return new ClusterNode(id, { engine, link, directory });
  }

  /** The server. Throws if it is not there at the moment. */
  get server(): SpawnedServer {
    if (this.#server === undefined) throw new Error(`The server ${this.id} is not there`);
    return this.#server;
  }

  /** Starts the server, and again until it stays; then orders go to it. */
  async start(submitter?: Submitter): Promise<SpawnedServer> {
    for (;;) {
      const server = await this.#tryStart();
      if (server !== undefined) {
        this.#server = server;
        submitter?.online(server.url);
        return server;
      }
      await Bun.sleep(AGAIN_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.link[Symbol.asyncDispose]();
    await this.engine[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Starts another server on this engine. */
  another(id: string, variables: Readonly<Record<string, string>>): Promise<SpawnedServer> {
    return SpawnedServer.start({ ...this.#variables(id), ...variables });
  }

  /** Returns nothing if it ends at once, as it does without a database: also one that goes away while the server is put together. */
  async #tryStart(): Promise<SpawnedServer | undefined> {
    let server: SpawnedServer | undefined;
    try {
      server = await SpawnedServer.start({ ...this.#variables(this.id), DATA_PATH: this.#directory });
      // Settles when it is put together, or has failed and ends.
      const isThere = await fetch(`${server.url}/v1/functions`);
      if (isThere.ok) return server;
    } catch {
      // It has ended.
    }
    await server?.[Symbol.asyncDispose]();
    return undefined;
  }

  #variables(id: string): Record<string, string> {
    return {
      DOCKER_HOST: this.engine.client.host,
      DATABASE_URL: this.link.url(DATABASE),
      SECRET_KEY,
      SERVER_ID: id,
      MAX_INSTANCES: "8",
      WARM_MAX: "8",
    };
  }
}
