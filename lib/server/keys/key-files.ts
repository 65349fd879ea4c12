import { type Config, ConfigError } from "../../config/config.ts";
import { DATABASE_URL_FORM, isDatabaseUrl } from "../../config/database/readers.ts";
import { messageOf } from "../../domain/errors.ts";
import { parseSecretKey, SECRET_KEY_FORM } from "../../domain/parse-secret-key.ts";
import { readSmallFile } from "../../private-files.ts";

/** Returns the API key, which the options give by itself or in a file; null if none. Throws a `ConfigError`. */
export async function readApiKey({ apiKey, apiKeyFile }: Config): Promise<string | null> {
  return apiKeyFile === null ? apiKey : readKey("API_KEY_FILE", apiKeyFile);
}

/** Returns the key for secrets, which the options give by itself or in a file; null if none. Throws a `ConfigError`. */
export async function readSecretKey({ secretKey, secretKeyFile }: Config): Promise<Uint8Array | null> {
  if (secretKeyFile === null) return secretKey;
  const key = parseSecretKey(await readKey("SECRET_KEY_FILE", secretKeyFile));
  if (key !== undefined) return key;
  throw new ConfigError(`SECRET_KEY_FILE "${secretKeyFile}" holds no key: put ${SECRET_KEY_FORM} into it`);
}

/** Returns the URL of the database, which the options give by itself or in a file; null if none. Throws a `ConfigError`. */
export async function readDatabaseUrl({ databaseUrl, databaseUrlFile }: Config): Promise<string | null> {
  if (databaseUrlFile === null) return databaseUrl;
  const url = await readKey("DATABASE_URL_FILE", databaseUrlFile);
  if (isDatabaseUrl(url)) return url;
  throw new ConfigError(
    `DATABASE_URL_FILE "${databaseUrlFile}" holds no URL of a database: put ${DATABASE_URL_FORM} into it`,
  );
}

async function readKey(
  variable: "API_KEY_FILE" | "SECRET_KEY_FILE" | "DATABASE_URL_FILE",
  file: string,
): Promise<string> {
  try {
    const key = readSmallFile(file).trim();
    if (key !== "") return key;
  } catch (error) {
    throw new ConfigError(`Cannot read ${variable} "${file}": ${messageOf(error)}`, { cause: error });
  }
  const content = variable === "DATABASE_URL_FILE" ? "the URL" : "the key";
  throw new ConfigError(`${variable} "${file}" is empty: put ${content} into it`);
}
