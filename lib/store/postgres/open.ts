import type { Logger } from "../../log.ts";
import { StoreError } from "../errors.ts";
import { Client } from "./client/client.ts";
import type { Primary } from "./client/primary.ts";
import { openProblem } from "./errors.ts";
import { migrate } from "./migrations/migrations.ts";

/** The oldest PostgreSQL that has everything that is used here, as `server_version_num`. */
const OLDEST = { number: 130_000, name: "13" };

interface Server {
  readonly number: number;
  readonly name: string;
  readonly synchronous_commit: string;
  readonly encoding: string;
  readonly in_recovery: boolean;
}

/** Connects to the database at a URL, checks what it is, and migrates it. Throws a `StoreError` that names the remedy. */
export async function openClient(url: string, log: Logger, primary?: Primary): Promise<Client> {
  const client = new Client(url, primary === undefined ? {} : { primary });
  try {
    await check(client);
    await migrate(client, log);
    return client;
  } catch (error) {
    await client[Symbol.asyncDispose]();
    if (error instanceof StoreError) throw error;
    throw new StoreError(openProblem(error), { cause: error });
  }
}

async function check(client: Client): Promise<void> {
  const server = await client.get<Server>(
    `select current_setting('server_version_num')::integer as number, current_setting('server_version') as name,
       current_setting('synchronous_commit') as synchronous_commit, current_setting('server_encoding') as encoding,
       pg_is_in_recovery() as in_recovery`,
  );
  if (server === undefined) throw new StoreError("The database of DATABASE_URL has not said what it is");
  const { number, name, synchronous_commit, encoding, in_recovery } = server;
  if (number < OLDEST.number) {
    throw new StoreError(`The database of DATABASE_URL is PostgreSQL ${name}: use PostgreSQL ${OLDEST.name} or newer`);
  }
  if (synchronous_commit === "off") {
    throw new StoreError(
      'The database of DATABASE_URL has "synchronous_commit = off" and would lose acknowledged work in a crash: set it to "on" for this user or database',
    );
  }
  if (encoding !== "UTF8") {
    throw new StoreError(`The database of DATABASE_URL has the encoding ${encoding}: create it with the encoding UTF8`);
  }
  if (in_recovery) {
    throw new StoreError(
      "The database of DATABASE_URL is a standby, which cannot be written: use the address of the primary",
    );
  }
}
