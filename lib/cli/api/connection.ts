import { type Config, ConfigError, type Flags, type Variables } from "../../config/config.ts";
import { OPTIONS } from "../../config/options.ts";
import { readSmallFile } from "../../private-files.ts";
import { fileProblem } from "../file-problem.ts";
import type { Connection } from "./api-client.ts";
import { readSavedServers, savedServer } from "./saved-servers.ts";
import { serverUrl } from "./server-url.ts";

/** Returns the server that the options alone describe, as a command next to it sees it. */
export function configuredConnection(config: Config): Connection {
  const { ca, allowHttp } = config;
  return { url: serverUrl(config), key: keyIn(config), ca, allowHttp, isOwn: config.url === null };
}

/**
 * Returns the server to talk to: the one that `--server` names, that `--url`, `--host` or `--port` (or their variables)
 * describe, that `slipway login` saved last, or the default one on this machine. A saved key goes to its own server only.
 */
export function chooseConnection(config: Config, flags: Flags, env: Variables): Connection {
  const configured = configuredConnection(config);
  if (config.server === null && isDescribed(flags, env)) {
    if (configured.key !== null || config.url === null) return configured;
    const known = readSavedServers(env).servers.find(({ url }) => url === config.url);
    return known === undefined ? configured : { ...configured, key: known.key, ca: configured.ca ?? known.ca };
  }
  const saved = savedServer(readSavedServers(env), config.server);
  if (saved === undefined) return configured;
  const { url, key, ca } = saved;
  return { url, key: configured.key ?? key, ca: configured.ca ?? ca, allowHttp: config.allowHttp, isOwn: false };
}

function isDescribed(flags: Flags, env: Variables): boolean {
  return [OPTIONS.url, OPTIONS.host, OPTIONS.port].some(({ flag, variable }) => {
    return flags[flag] !== undefined || (env[variable] ?? "") !== "";
  });
}

function keyIn({ apiKey, apiKeyFile: file }: Config): string | null {
  if (file === null) return apiKey;
  try {
    return readSmallFile(file).trim();
  } catch (error) {
    throw new ConfigError(`Cannot read API_KEY_FILE "${file}": ${fileProblem(error)}`, { cause: error });
  }
}
