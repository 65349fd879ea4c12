import { serverAddress } from "./network-readers.ts";
import type { OptionTable } from "./option.ts";
import { oneOf, text } from "./readers.ts";

/** TLS of the server, and of the command line that calls one. */
export const TLS_OPTIONS = {
  tlsCert: {
    flag: "tls-cert",
    variable: "TLS_CERT",
    value: "FILE",
    help: "File with the certificate and its chain (PEM); the server then speaks https, on the public listener too. Read again when it changes.",
    read: text,
    default: null,
    defaultHelp: "none; plain http",
  },
  tlsKey: {
    flag: "tls-key",
    variable: "TLS_KEY",
    value: "FILE",
    help: "File with the private key of --tls-cert (PEM).",
    read: text,
    default: null,
  },
  url: {
    flag: "url",
    variable: "SLIPWAY_URL",
    value: "URL",
    help: "With healthcheck, apply and export: the server to call, such as https://slipway.example.com.",
    read: serverAddress,
    default: null,
    defaultHelp: "the one at --host and --port",
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
    help: "on: apply and export send the key over plain http to another machine, too, where everyone on the way can read it.",
    read: oneOf("on", "off"),
    default: "off",
  },
} as const satisfies OptionTable;
