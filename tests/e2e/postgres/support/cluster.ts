import { SQL } from "bun";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../../lib/domain/functions/functions.ts";
import { eventually } from "../../../support/pace.ts";
import { type PrivatePostgres, startPostgres } from "../../../support/postgres/private-postgres.ts";
import { SpawnedServer } from "../../../support/spawned-server.ts";

/** Longer than anything here takes; what is waited for comes as an event. */
export const LONG_MS = 60_000;

/** Servers that share a database, on the engine of the tests. */
export class Cluster implements AsyncDisposable {
  readonly postgres: PrivatePostgres;
  readonly #sql: SQL;
  readonly #servers: SpawnedServer[] = [];
  readonly #secretKey = Buffer.alloc(32, 7).toString("base64");

  private constructor(postgres: PrivatePostgres) {
    this.postgres = postgres;
    this.#sql = new SQL(postgres.url("postgres"), { max: 1 });
  }

  static async start(): Promise<Cluster> {
    return new Cluster(await startPostgres());
  }

  /** Starts a server with further variables. */
  async server(id: string, variables: Readonly<Record<string, string>> = {}): Promise<SpawnedServer> {
    const own = { DATABASE_URL: this.postgres.url("postgres"), SECRET_KEY: this.#secretKey, SERVER_ID: id };
    const server = await SpawnedServer.start({ ...own, ...variables });
    this.#servers.push(server);
    return server;
  }

  /** Queues an invocation and returns its id; anything but 202 throws. */
  async submitted({ url }: SpawnedServer, { id }: Pick<Function, "id">, body: object): Promise<string> {
    const path = `${url}/v1/functions/${id}/invoke?async=true`;
    const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
    if (response.status !== 202) throw new Error(`not submitted: ${response.status}`);
    return ((await response.json()) as { data: Invocation }).data.id; // an envelope
  }

  async recordOf({ url }: SpawnedServer, id: string): Promise<Invocation> {
    return ((await (await fetch(`${url}/v1/invocations/${id}`)).json()) as { data: Invocation }).data; // an envelope
  }

  /** Returns the record of an invocation once it has ended. */
  async ended(server: SpawnedServer, id: string): Promise<Invocation> {
    const hasEnded = async () => (await this.recordOf(server, id)).finished_at !== null;
    if (!(await eventually(hasEnded, LONG_MS))) throw new Error(`${id} does not end`);
    return this.recordOf(server, id);
  }

  /** Returns the server that attempts an invocation now; null if none does. */
  async holderOf(id: string): Promise<string | null> {
    const [work] = await this.query<{ holder: string | null }>(
      `select holder from work where state = 'leased' and invocation_id = '${id}'`,
    );
    return work?.holder ?? null;
  }

  /** Asks the database. */
  async query<Row>(sql: string): Promise<Row[]> {
    return Array.from(await this.#sql.unsafe<Row[]>(sql));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server[Symbol.asyncDispose]();
    await this.#sql.close();
    await this.postgres[Symbol.asyncDispose]();
  }
}
