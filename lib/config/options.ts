import { ACCESS_OPTIONS } from "./access-options.ts";
import { CALL_OPTIONS } from "./call-options.ts";
import { CAPACITY_OPTIONS } from "./capacity-options.ts";
import { CLIENT_OPTIONS } from "./client-options.ts";
import { DATABASE_OPTIONS } from "./database/options.ts";
import { ENGINE_OPTIONS } from "./engine-options.ts";
import { RECORD_OPTIONS } from "./record-options.ts";
import { TLS_OPTIONS } from "./tls-options.ts";

/** All options of the server, in the order of the help. The help, the manual's table and `Config` come from here. */
export const OPTIONS = {
  ...ACCESS_OPTIONS,
  ...DATABASE_OPTIONS,
  ...TLS_OPTIONS,
  ...CLIENT_OPTIONS,
  ...ENGINE_OPTIONS,
  ...CAPACITY_OPTIONS,
  ...CALL_OPTIONS,
  ...RECORD_OPTIONS,
} as const;
