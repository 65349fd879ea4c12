import { advertisedAddress, databaseUrl, serverId } from "./readers.ts";
import type { OptionTable } from "../option.ts";
import { text } from "../readers.ts";

/** The database, if it is not a file in the data directory. */
export const DATABASE_OPTIONS = {
  databaseUrl: {
    flag: "database-url",
    variable: "DATABASE_URL",
    value: "URL",
    help: "A PostgreSQL database in place of the file in the data directory: postgres://USER:PASSWORD@HOST/NAME, with ?sslmode=verify-full over a network. Needs SECRET_KEY or SECRET_KEY_FILE.",
    read: databaseUrl,
    default: null,
    defaultHelp: "a SQLite file in the data directory",
    secret: true,
  },
  databaseUrlFile: {
    flag: "database-url-file",
    variable: "DATABASE_URL_FILE",
    value: "FILE",
    help: "File with the URL of the database.",
    read: text,
    default: null,
  },
  serverId: {
    flag: "server-id",
    variable: "SERVER_ID",
    value: "ID",
    help: "With DATABASE_URL: the name of this server in the database. No other server may have it, and it must stay the same across restarts.",
    read: serverId,
    default: null,
    defaultHelp: "the machine's name",
  },
  advertiseUrl: {
    flag: "advertise-url",
    variable: "ADVERTISE_URL",
    value: "URL",
    help: "With DATABASE_URL: the address at which the other servers of the database reach this one, such as http://10.0.0.5:9999. Without it they pass no calls on to it.",
    read: advertisedAddress,
    default: null,
  },
} as const satisfies OptionTable;
