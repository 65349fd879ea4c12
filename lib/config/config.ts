import { availableParallelism, totalmem } from "node:os";
import { resolve } from "node:path";
import type { Machine, Option, Origin } from "./option.ts";
import { OPTIONS } from "./options.ts";
import { ValueError } from "./readers.ts";

/** A configuration that cannot work: the message names the flag or variable, its value and what to give instead. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

type Name = keyof typeof OPTIONS;
type ValueOf<O extends Option> = ReturnType<O["read"]> | (O["default"] extends null ? null : never);

/** The value of each option. Times are in milliseconds, sizes in bytes. */
export type Config = { readonly [N in Name]: ValueOf<(typeof OPTIONS)[N]> };

/** Values by flag, as typed. */
export type Flags = Readonly<Record<string, string | undefined>>;
/** The environment of the process. */
export type Variables = Readonly<Record<string, string | undefined>>;

export function thisMachine(): Machine {
  return { memory_bytes: totalmem(), cpus: availableParallelism(), directory: process.cwd() };
}

/** Reads all options: a flag, else the environment, else the default. Throws a `ConfigError` at the first wrong value. */
export function readConfig(flags: Flags, env: Variables, machine: Machine): Config {
  const osEnv = readOption(OPTIONS.osEnv, flags, env, { ...machine, inContainer: false });
  const origin = { ...machine, inContainer: osEnv === "docker" };
  const entries = Object.entries(OPTIONS).map(([name, option]) => [name, readOption(option, flags, env, origin)]);
  // `Config` has, for each name in the table, the type that its reader returns.
  const config = Object.fromEntries(entries) as Config;
  for (const [value, file, name] of [
    [config.apiKey, config.apiKeyFile, "API_KEY"],
    [config.secretKey, config.secretKeyFile, "SECRET_KEY"],
    [config.databaseUrl, config.databaseUrlFile, "DATABASE_URL"],
  ] as const) {
    if (value === null || file === null) continue;
    throw new ConfigError(`Both ${name} and ${name}_FILE are given (or their flags): leave one of them out`);
  }
  const isShared = config.databaseUrl !== null || config.databaseUrlFile !== null;
  if (isShared && config.secretKey === null && config.secretKeyFile === null) {
    throw new ConfigError(
      "DATABASE_URL is given without SECRET_KEY (or their files): give the key that encrypts secrets, the same to all servers of that database",
    );
  }
  if (config.advertiseUrl !== null && !isShared) {
    throw new ConfigError(
      "ADVERTISE_URL is given without DATABASE_URL (or their flags): only servers that share a database pass calls on. Leave it out, or give the database",
    );
  }
  if (config.publicHost !== null && config.publicPort === null) {
    throw new ConfigError(
      "PUBLIC_HOST is given without PUBLIC_PORT (or their flags): give the port of the public listener",
    );
  }
  if ((config.tlsCert === null) !== (config.tlsKey === null)) {
    const [given, missing] = config.tlsKey === null ? ["TLS_CERT", "TLS_KEY"] : ["TLS_KEY", "TLS_CERT"];
    throw new ConfigError(`${given} is given without ${missing} (or their flags): give both, or neither`);
  }
  if (config.trustGateway === "on" && !origin.inContainer) {
    throw new ConfigError(
      "TRUST_GATEWAY=on is for a server in a container (OS_ENV=docker): elsewhere the gateway is the network's router. Leave it out.",
    );
  }
  return { ...config, dataPath: resolve(machine.directory, config.dataPath) };
}

function readOption(option: Option, flags: Flags, env: Variables, origin: Origin): unknown {
  const flag = flags[option.flag];
  const variable = env[option.variable];
  if (flag !== undefined) return read(option, `--${option.flag}`, flag);
  // An empty variable counts as unset: compose files pass variables on as `${NAME:-}`.
  if (variable !== undefined && variable !== "") return read(option, option.variable, variable);
  const value = typeof option.default === "function" ? option.default(origin) : option.default;
  return value === null ? null : read(option, option.variable, value);
}

function read(option: Option, source: string, value: string): unknown {
  try {
    return option.read(value);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    const shown = option.secret ? "(not shown)" : JSON.stringify(value);
    throw new ConfigError(`Invalid ${source} ${shown}: give ${error.message}`, { cause: error });
  }
}
