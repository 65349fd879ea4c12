import { homedir } from "node:os";
import { join } from "node:path";
import { type Config, ConfigError } from "../config/config.ts";
import type { EngineAddress } from "../domain/engine-address.ts";
import { messageOf } from "../domain/errors.ts";
import { parseSecretKey, SECRET_KEY_FORM } from "../domain/parse-secret-key.ts";
import { readSmallFile } from "../private-files.ts";

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

/** Returns the engine's address, with its certificates if it is reached by TLS. Throws a `ConfigError`. */
export async function readEngineAddress({
  dockerHost,
  dockerTlsVerify,
  dockerCertPath,
}: Pick<Config, "dockerHost" | "dockerTlsVerify" | "dockerCertPath">): Promise<EngineAddress> {
  if (dockerTlsVerify === null || "socketPath" in dockerHost) return dockerHost;
  const directory = dockerCertPath ?? join(homedir(), ".docker");
  const read = async (name: string) => {
    const file = join(directory, name);
    try {
      return readSmallFile(file);
    } catch (error) {
      throw new ConfigError(`Cannot read "${file}" for DOCKER_TLS_VERIFY: ${messageOf(error)}. Set DOCKER_CERT_PATH.`, {
        cause: error,
      });
    }
  };
  const [ca, cert, key] = await Promise.all([read("ca.pem"), read("cert.pem"), read("key.pem")]);
  return { ...dockerHost, tls: { ca, cert, key } };
}

async function readKey(variable: "API_KEY_FILE" | "SECRET_KEY_FILE", file: string): Promise<string> {
  try {
    const key = readSmallFile(file).trim();
    if (key !== "") return key;
  } catch (error) {
    throw new ConfigError(`Cannot read ${variable} "${file}": ${messageOf(error)}`, { cause: error });
  }
  throw new ConfigError(`${variable} "${file}" is empty: put the key into it`);
}
