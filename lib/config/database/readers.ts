import { serverAddress } from "../network-readers.ts";
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

/** Addresses that mean any machine, or none. */
const NOWHERE = new Set(["0.0.0.0", "[::]"]);

/** The URL at which others reach a server, without a path. */
export const advertisedAddress: Reader<string> = (value) => {
  const address = serverAddress(value);
  const { hostname, port } = new URL(address);
  const isSomewhere = !NOWHERE.has(hostname) && port !== "0";
  return isSomewhere
    ? address
    : refuse(
        "the address at which other machines reach this one, which is not 0.0.0.0 or [::], and has a port other than 0",
      );
};
