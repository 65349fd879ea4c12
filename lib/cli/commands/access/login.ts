import { ConfigError } from "../../../config/config.ts";
import { serverAddress } from "../../../config/network-readers.ts";
import { ApiClient } from "../../api/api-client.ts";
import { configuredConnection } from "../../api/connection.ts";
import { readSavedServers, savedServersFile, writeSavedServers } from "../../api/saved-servers.ts";
import { readHidden } from "../../hidden-input.ts";
import { resolve } from "node:path";
import type { Define } from "../../tools.ts";

/** Costs the server little, and needs a key of any scope. */
const CHECK_PATH = "/swagger";

/** `slipway login`: checks an address and a key, saves them, and makes them those of all further commands. */
export const define: Define = (command, { config, env, out }) => {
  command
    .description("Save the address and the key of a server; further commands call it")
    .argument("[url]", "The server, such as https://slipway.example.com; by default --url, or the one on this machine.")
    .option("--name <name>", "The name to save it under; by default its host.")
    .option("--key-stdin", "Read the key from standard input; by default API_KEY, or you are asked for it.")
    .action(async (address, { name: given, keyStdin }) => {
      const connection = {
        ...configuredConnection(config()),
        ...(address !== undefined && { url: addressIn(address), isOwn: false }),
      };
      const name = given ?? new URL(connection.url).host;
      if (!/^[\p{L}\p{N}\p{P}\p{S}]{1,255}$/u.test(name)) {
        throw new ConfigError("Invalid --name: give 1 to 255 characters without spaces");
      }
      const needsKey =
        connection.key === null && keyStdin !== true && (await refusesKeyless({ ...connection, key: null }));
      const key =
        keyStdin === true
          ? (await Bun.stdin.text()).trim()
          : needsKey
            ? (await readHidden(`API key of ${connection.url}: `, "--key-stdin, or set API_KEY")).trim()
            : connection.key;
      await new ApiClient({ ...connection, key }).text({ method: "GET", path: CHECK_PATH });
      const ca = connection.ca === null ? null : resolve(connection.ca);
      const { servers } = readSavedServers(env);
      const others = servers.filter((server) => server.name !== name);
      writeSavedServers(env, { current: name, servers: [...others, { name, url: connection.url, key, ca }] });
      // Never the key itself.
      const saved = { name, url: connection.url, has_key: key !== null, file: savedServersFile(env) };
      out.done(
        saved,
        `Logged in to ${saved.url} as "${name}"${key === null ? ", which needs no key" : ""}; saved in ${saved.file}`,
      );
    });
};

function addressIn(text: string): string {
  try {
    return serverAddress(/^https?:\/\//.test(text) ? text : `https://${text}`);
  } catch {
    throw new ConfigError(
      `Invalid URL ${JSON.stringify(text)}: give one such as https://slipway.example.com or http://127.0.0.1:9999`,
    );
  }
}

/** Returns whether a server needs a key. Throws if it does not answer. */
async function refusesKeyless(connection: ConstructorParameters<typeof ApiClient>[0]): Promise<boolean> {
  const { status } = await new ApiClient(connection).send({ method: "GET", path: CHECK_PATH });
  return status === 401;
}
