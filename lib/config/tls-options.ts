import type { OptionTable } from "./option.ts";
import { text } from "./readers.ts";

/** TLS of the server. */
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
} as const satisfies OptionTable;
