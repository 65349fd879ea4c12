import { serverAddress } from "../network-readers.ts";
import { type Reader, refuse } from "../readers.ts";

/** The form of a database's URL, for messages. */
export const DATABASE_URL_FORM =
  "a URL such as postgres://USER:PASSWORD@HOST/NAME?sslmode=verify-full, with %25 for a % in the password, and %40 for an @";

/** The values of `sslmode`. */
const SSL_MODES: ReadonlySet<string> = new Set(["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]);

/** The URL of a PostgreSQL database. */
export const databaseUrl: Reader<string> = (value) => (isDatabaseUrl(value) ? value : refuse(DATABASE_URL_FORM));

export function isDatabaseUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, username, password, pathname, searchParams } = new URL(value);
  const isKnown =
    ["postgres:", "postgresql:"].includes(protocol) && SSL_MODES.has(searchParams.get("sslmode") ?? "allow");
  return isKnown && [username, password, pathname].every(isDecodable);
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
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
