import { VERSIONS } from "../domain/limits.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../log.ts";
import type { OptionTable } from "./option.ts";
import { integer, oneOf } from "./readers.ts";

const RECORDS = 1024 ** 3;

/** Retention of records and images, and logging. */
export const RECORD_OPTIONS = {
  retentionDays: {
    flag: "retention-days",
    variable: "RETENTION_DAYS",
    value: "DAYS",
    help: "How long invocation records are kept, counted from the end of the invocation.",
    read: integer(0, 36_500),
    default: "7",
  },
  retentionCount: {
    flag: "retention-count",
    variable: "RETENTION_COUNT",
    value: "COUNT",
    help: "How many invocation records are kept.",
    read: integer(0, RECORDS),
    default: "100000",
  },
  auditDays: {
    flag: "audit-days",
    variable: "AUDIT_DAYS",
    value: "DAYS",
    help: "How long it is recorded who changed what, and whose key was refused (GET /v1/audit).",
    read: integer(0, 36_500),
    default: "90",
  },
  keepVersions: {
    flag: "keep-versions",
    variable: "KEEP_VERSIONS",
    value: "COUNT",
    help: "Versions of a function, the current one included, whose images stay on the engine; older images that this server pulled are removed.",
    read: integer(1, VERSIONS),
    default: "5",
  },
  logLevel: {
    flag: "log-level",
    variable: "LOG_LEVEL",
    value: "LEVEL",
    help: "Lowest level that is logged to standard error: debug, info, warn or error.",
    read: oneOf(...LOG_LEVELS),
    default: "info",
  },
  logFormat: {
    flag: "log-format",
    variable: "LOG_FORMAT",
    value: "FORMAT",
    help: "json, text, or auto: text on a terminal, else json.",
    read: oneOf(...LOG_FORMATS),
    default: "auto",
  },
} as const satisfies OptionTable;
