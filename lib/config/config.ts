import { availableParallelism, totalmem } from "node:os";
import { resolve } from "node:path";
import {
  CONTEXT_BYTES,
  LOG_BYTES,
  MEMORY_BYTES,
  REQUEST_BYTES,
  RESPONSE_BYTES,
  VERSIONS,
  WARM_MAX,
} from "../domain/limits.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../log.ts";
import {
  apiKey,
  callbackAllow,
  containerPath,
  duration,
  engineAddress,
  host,
  hosts,
  integer,
  oneOf,
  secretKey,
  showSize,
  size,
  text,
  ValueError,
  volumeName,
  type Reader,
} from "./option-values.ts";

/** A start that cannot work: the message names the flag or variable, its value and what to give instead. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** What defaults depend on, so that tests can choose it. */
export interface Machine {
  readonly memory_bytes: number;
  readonly cpus: number;
  readonly directory: string;
}

interface Origin extends Machine {
  readonly inContainer: boolean;
}

interface Option {
  readonly flag: string;
  readonly variable: string;
  /** What stands for the value in the help. */
  readonly value: string;
  readonly help: string;
  readonly read: Reader<unknown>;
  /** Read like a given value; null where there is none. */
  readonly default: string | ((origin: Origin) => string) | null;
  /** What the help says of a default that depends on the machine. */
  readonly defaultHelp?: string;
  /** Not to be shown in messages. */
  readonly secret?: true;
}

const GIB = 1024 ** 3;
const SECOND = 1000;
const HOUR = 3600 * SECOND;
const MAX_INSTANCES = 10_000;

/** Every option of the server. The help, the README's table and the typed `Config` all come from here. */
export const OPTIONS = {
  host: {
    flag: "host",
    variable: "HOST",
    value: "ADDRESS",
    help: "Address to listen on. On any but a loopback address the API needs a key (see --auth).",
    read: host,
    default: ({ inContainer }) => (inContainer ? "0.0.0.0" : "127.0.0.1"),
    defaultHelp: "127.0.0.1; 0.0.0.0 with OS_ENV=docker",
  },
  port: {
    flag: "port",
    variable: "PORT",
    value: "PORT",
    help: "Port to listen on; 0 takes any that is free.",
    read: integer(0, 65_535),
    default: "9999",
  },
  dataPath: {
    flag: "data-path",
    variable: "DATA_PATH",
    value: "DIRECTORY",
    help: "Where the database (database.db) is kept.",
    read: text,
    default: ({ inContainer, directory }) => (inContainer ? "/data" : directory),
    defaultHelp: "the working directory; /data with OS_ENV=docker",
  },
  apiKey: {
    flag: "api-key",
    variable: "API_KEY",
    value: "KEY",
    help: "The key that the API asks for. Everyone on the machine can see a flag: better use the variable or a file.",
    read: apiKey,
    default: null,
    defaultHelp: "made at the first start that needs one, and printed once",
    secret: true,
  },
  apiKeyFile: {
    flag: "api-key-file",
    variable: "API_KEY_FILE",
    value: "FILE",
    help: "A file that holds the key, such as a Docker secret.",
    read: text,
    default: null,
  },
  secretKey: {
    flag: "secret-key",
    variable: "SECRET_KEY",
    value: "KEY",
    help: "The key that secrets are encrypted with: 32 bytes in base64 or hex (openssl rand -base64 32). Better use the variable or a file.",
    read: secretKey,
    default: null,
    defaultHelp: "in the file secret.key of the data directory, made at the first start",
    secret: true,
  },
  secretKeyFile: {
    flag: "secret-key-file",
    variable: "SECRET_KEY_FILE",
    value: "FILE",
    help: "A file that holds that key.",
    read: text,
    default: null,
  },
  auth: {
    flag: "auth",
    variable: "AUTH",
    value: "MODE",
    help: "Who may use the API: on = only with the key; off = whoever reaches it; auto = on, unless the address is a loopback one.",
    read: oneOf("auto", "on", "off"),
    default: "auto",
  },
  allowedHosts: {
    flag: "allowed-hosts",
    variable: "ALLOWED_HOSTS",
    value: "HOST,...",
    help: "Host names, beside loopback ones, under which the API may be called without a key.",
    read: hosts,
    default: "",
    defaultHelp: "none",
  },
  dockerHost: {
    flag: "docker-host",
    variable: "DOCKER_HOST",
    value: "URL",
    help: "The engine: unix:///path or tcp://host:port.",
    read: engineAddress,
    default: "unix:///var/run/docker.sock",
  },
  contextName: {
    flag: "context-name",
    variable: "CONTEXT_NAME",
    value: "VOLUME",
    help: "The engine's volume through which the gate gets into containers; made when it is missing.",
    read: volumeName,
    default: "serverless_context",
  },
  contextPath: {
    flag: "context-path",
    variable: "CONTEXT_PATH",
    value: "PATH",
    help: "Where a function finds its context, less the id of the invocation.",
    read: containerPath,
    default: "/tmp/context",
  },
  osEnv: {
    flag: "os-env",
    variable: "OS_ENV",
    value: "NAME",
    help: "docker: the server runs in a container, which changes the defaults of --host and --data-path.",
    read: text,
    default: null,
  },
  maxInstances: {
    flag: "max-instances",
    variable: "MAX_INSTANCES",
    value: "COUNT",
    help: "Containers that run at once; more calls wait.",
    read: integer(1, MAX_INSTANCES),
    default: ({ memory_bytes }) => {
      const fitting = Math.floor((memory_bytes * 0.75) / MEMORY_BYTES.default);
      return String(Math.min(MAX_INSTANCES, Math.max(1, fitting)));
    },
    defaultHelp: `as many of ${showSize(MEMORY_BYTES.default)} as fit into three quarters of the memory`,
  },
  memoryBudget: {
    flag: "memory-budget",
    variable: "MEMORY_BUDGET",
    value: "SIZE",
    help: "What the memory limits of all instances together may come to; no instance is started beyond it.",
    read: size(MEMORY_BYTES.min, MEMORY_BYTES.max),
    default: ({ memory_bytes }) =>
      String(Math.min(MEMORY_BYTES.max, Math.max(MEMORY_BYTES.default, Math.floor(memory_bytes * 0.75)))),
    defaultHelp: "three quarters of the memory",
  },
  startsAtOnce: {
    flag: "starts-at-once",
    variable: "STARTS_AT_ONCE",
    value: "COUNT",
    help: "Containers that the engine is asked to start at the same time.",
    read: integer(1, 256),
    default: ({ cpus }) => String(Math.max(2, cpus)),
    defaultHelp: "as many as there are cores, at least 2",
  },
  warmMax: {
    flag: "warm-max",
    variable: "WARM_MAX",
    value: "COUNT",
    help: "Instances of a function that are kept ready at most, whatever its own warm_max; 0 makes every call a cold one.",
    read: integer(0, WARM_MAX.max),
    default: String(WARM_MAX.max),
  },
  queueLimit: {
    flag: "queue-limit",
    variable: "QUEUE_LIMIT",
    value: "COUNT",
    help: "Calls that may wait for a place among the running instances (those of one function: nine tenths of it); those beyond get a 503.",
    read: integer(0, 1_000_000),
    default: "1000",
  },
  functionQueueLimit: {
    flag: "function-queue-limit",
    variable: "FUNCTION_QUEUE_LIMIT",
    value: "COUNT",
    help: "Calls that may wait for a function which is at its own max_concurrency; those beyond get a 429.",
    read: integer(0, 1_000_000),
    default: "100",
  },
  maxRequestBytes: {
    flag: "max-request-bytes",
    variable: "MAX_REQUEST_BYTES",
    value: "SIZE",
    help: "The largest request body.",
    read: size(1024, CONTEXT_BYTES),
    default: showSize(REQUEST_BYTES),
  },
  maxResponseBytes: {
    flag: "max-response-bytes",
    variable: "MAX_RESPONSE_BYTES",
    value: "SIZE",
    help: "The largest response.json.",
    read: size(1024, CONTEXT_BYTES),
    default: showSize(RESPONSE_BYTES),
  },
  logBytes: {
    flag: "log-bytes",
    variable: "LOG_BYTES",
    value: "SIZE",
    help: "Output of a function that is kept of each call.",
    read: size(0, CONTEXT_BYTES),
    default: showSize(LOG_BYTES),
  },
  drainMs: {
    flag: "drain-ms",
    variable: "DRAIN_MS",
    value: "TIME",
    help: "How long running calls may take to end when the server is told to stop.",
    read: duration(0, HOUR),
    default: "30s",
  },
  engineTimeoutMs: {
    flag: "engine-timeout-ms",
    variable: "ENGINE_TIMEOUT_MS",
    value: "TIME",
    help: "How long the engine may take to answer anything but a pull.",
    read: duration(100, HOUR),
    default: "30s",
  },
  pullTimeoutMs: {
    flag: "pull-timeout-ms",
    variable: "PULL_TIMEOUT_MS",
    value: "TIME",
    help: "How long the pull of an image may take.",
    read: duration(SECOND, 24 * HOUR),
    default: "10m",
  },
  callbackAllow: {
    flag: "callback-allow",
    variable: "CALLBACK_ALLOW",
    value: "HOST,...",
    help: "What callbacks may reach beside public addresses: host names, addresses and ranges such as 10.0.0.0/8.",
    read: callbackAllow,
    default: "",
    defaultHelp: "none",
  },
  retentionDays: {
    flag: "retention-days",
    variable: "RETENTION_DAYS",
    value: "DAYS",
    help: "How long the records of invocations are kept.",
    read: integer(0, 36_500),
    default: "7",
  },
  retentionCount: {
    flag: "retention-count",
    variable: "RETENTION_COUNT",
    value: "COUNT",
    help: "How many records of invocations are kept.",
    read: integer(0, GIB),
    default: "100000",
  },
  keepVersions: {
    flag: "keep-versions",
    variable: "KEEP_VERSIONS",
    value: "COUNT",
    help: "Versions of a function, the present one included, whose images stay on the engine; of older ones, those that this server pulled are removed.",
    read: integer(1, VERSIONS),
    default: "5",
  },
  logLevel: {
    flag: "log-level",
    variable: "LOG_LEVEL",
    value: "LEVEL",
    help: "What the server logs to standard error: debug, info, warn or error.",
    read: oneOf(...LOG_LEVELS),
    default: "info",
  },
  logFormat: {
    flag: "log-format",
    variable: "LOG_FORMAT",
    value: "FORMAT",
    help: "json, text, or auto = text on a terminal.",
    read: oneOf(...LOG_FORMATS),
    default: "auto",
  },
} as const satisfies Readonly<Record<string, Option>>;

type Name = keyof typeof OPTIONS;
type ValueOf<O extends Option> = ReturnType<O["read"]> | (O["default"] extends null ? null : never);

/** The options as the server uses them. Times in milliseconds, sizes in bytes. */
export type Config = { readonly [N in Name]: ValueOf<(typeof OPTIONS)[N]> };

/** Values by flag, as they were typed. */
export type Flags = Readonly<Record<string, string | undefined>>;
/** The environment of the process. */
export type Variables = Readonly<Record<string, string | undefined>>;

export function thisMachine(): Machine {
  return { memory_bytes: totalmem(), cpus: availableParallelism(), directory: process.cwd() };
}

/** Flags beat the environment, which beats the defaults. Throws a `ConfigError` at the first value that is wrong. */
export function readConfig(flags: Flags, env: Variables, machine: Machine): Config {
  const osEnv = readOption(OPTIONS.osEnv, flags, env, { ...machine, inContainer: false });
  const origin = { ...machine, inContainer: osEnv === "docker" };
  const entries = Object.entries(OPTIONS).map(([name, option]) => [name, readOption(option, flags, env, origin)]);
  // The table gives each name its reader, and `Config` each name what that reader returns.
  const config = Object.fromEntries(entries) as Config;
  for (const [value, file, name] of [
    [config.apiKey, config.apiKeyFile, "API_KEY"],
    [config.secretKey, config.secretKeyFile, "SECRET_KEY"],
  ] as const) {
    if (value === null || file === null) continue;
    throw new ConfigError(`Both ${name} and ${name}_FILE are given (or their flags): leave one of them out`);
  }
  return { ...config, dataPath: resolve(machine.directory, config.dataPath) };
}

function readOption(option: Option, flags: Flags, env: Variables, origin: Origin): unknown {
  const flag = flags[option.flag];
  const variable = env[option.variable];
  if (flag !== undefined) return read(option, `--${option.flag}`, flag);
  // Compose files pass variables on as `${NAME:-}`: an empty one is one that was not set.
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
