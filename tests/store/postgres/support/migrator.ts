/** Migrates a database: `URL SQL`, with a last migration of that text. It is started to be killed. */
import { systemClock } from "../../../../lib/clock.ts";
import { createLogger } from "../../../../lib/log.ts";
import { Client } from "../../../../lib/store/postgres/client/client.ts";
import { migrate, MIGRATIONS } from "../../../../lib/store/postgres/migrations/migrations.ts";

const [url = "", sql = ""] = process.argv.slice(2);
await using client = new Client(url, { connections: 1 });
const log = createLogger({ level: "info", format: "json", clock: systemClock });
await migrate(client, log, { tables: [...MIGRATIONS, sql], rows: [] });
