import { type Reader, refuse } from "../readers.ts";

/** The form of a database's URL, for messages. */
export const DATABASE_URL_FORM = "a URL such as postgres://USER:PASSWORD@HOST/NAME";

/** The URL of a PostgreSQL database. */
export const databaseUrl: Reader<string> = (value) => (isDatabaseUrl(value) ? value : refuse(DATABASE_URL_FORM));

export function isDatabaseUrl(value: string): boolean {
  return URL.canParse(value) && ["postgres:", "postgresql:"].includes(new URL(value).protocol);
}

/** The name of a server among those of one database. */
export const serverId: Reader<string> = (value) =>
  /^[\w.-]{1,64}$/.test(value) ? value : refuse("1 to 64 letters, digits, dots, hyphens and underscores");
