import { serverAddress } from "./network-readers.ts";
import type { OptionTable } from "./option.ts";
import { oneOf, text } from "./readers.ts";

/** The server that commands call. */
export const CLIENT_OPTIONS = {
  url: {
    flag: "url",
    variable: "SLIPWAY_URL",
    value: "URL",
    help: "With commands that call a running server: the one to call, such as https://slipway.example.com.",
    read: serverAddress,
    default: null,
    defaultHelp: "the one at --host and --port, or the one of the last slipway login",
  },
  server: {
    flag: "server",
    variable: "SLIPWAY_SERVER",
    value: "NAME",
    help: "With the same commands: the server to call, by the name that slipway login has saved.",
    read: text,
    default: null,
    defaultHelp: "the one of the last slipway login",
  },
  ca: {
    flag: "ca",
    variable: "SLIPWAY_CA",
    value: "FILE",
    help: "With the same commands: file with the certificates (PEM) that the server's is checked against, in place of the system's.",
    read: text,
    default: null,
  },
  allowHttp: {
    flag: "allow-http",
    variable: "ALLOW_HTTP",
    value: "MODE",
    help: "on: the same commands send the key over plain http to another machine, too, where everyone on the way can read it.",
    read: oneOf("on", "off"),
    default: "off",
  },
} as const satisfies OptionTable;
