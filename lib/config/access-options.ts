import { apiKey, secretKey } from "./key-readers.ts";
import { host, hosts } from "./network-readers.ts";
import type { OptionTable } from "./option.ts";
import { integer, oneOf, text } from "./readers.ts";

/** The address, the data directory, and access to the API. */
export const ACCESS_OPTIONS = {
  host: {
    flag: "host",
    variable: "HOST",
    value: "ADDRESS",
    help: "Address to listen on. Except on a loopback address, the API needs a key (see --auth).",
    read: host,
    default: ({ inContainer }) => (inContainer ? "0.0.0.0" : "127.0.0.1"),
    defaultHelp: "127.0.0.1; 0.0.0.0 with OS_ENV=docker",
  },
  port: {
    flag: "port",
    variable: "PORT",
    value: "PORT",
    help: "Port to listen on; 0 picks a free one.",
    read: integer(0, 65_535),
    default: "9999",
  },
  dataPath: {
    flag: "data-path",
    variable: "DATA_PATH",
    value: "DIRECTORY",
    help: "Directory of the database (database.db).",
    read: text,
    default: ({ inContainer, directory }) => (inContainer ? "/data" : directory),
    defaultHelp: "the working directory; /data with OS_ENV=docker",
  },
  apiKey: {
    flag: "api-key",
    variable: "API_KEY",
    value: "KEY",
    help: "The API key. All users of the machine can see a flag: prefer the variable or a file.",
    read: apiKey,
    default: null,
    defaultHelp: "created at the first start that needs one, and printed once",
    secret: true,
  },
  apiKeyFile: {
    flag: "api-key-file",
    variable: "API_KEY_FILE",
    value: "FILE",
    help: "File with the API key, such as a Docker secret.",
    read: text,
    default: null,
  },
  secretKey: {
    flag: "secret-key",
    variable: "SECRET_KEY",
    value: "KEY",
    help: "The key that encrypts secrets: 32 bytes in base64 or hex (openssl rand -base64 32). Prefer the variable or a file.",
    read: secretKey,
    default: null,
    defaultHelp: "in the file secret.key of the data directory, created at the first start",
    secret: true,
  },
  secretKeyFile: {
    flag: "secret-key-file",
    variable: "SECRET_KEY_FILE",
    value: "FILE",
    help: "File with the key that encrypts secrets.",
    read: text,
    default: null,
  },
  auth: {
    flag: "auth",
    variable: "AUTH",
    value: "MODE",
    help: "Who may use the API: on = only with the key; off = anyone who can reach it; auto = on, except on a loopback address.",
    read: oneOf("auto", "on", "off"),
    default: "auto",
  },
  allowedHosts: {
    flag: "allowed-hosts",
    variable: "ALLOWED_HOSTS",
    value: "HOST,...",
    help: "Host names, besides loopback ones, under which the API may be called without a key.",
    read: hosts,
    default: "",
    defaultHelp: "none",
  },
} as const satisfies OptionTable;
