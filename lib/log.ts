import { fstatSync, writeSync } from "node:fs";
import type { Clock } from "./clock.ts";

/** The levels of the log, from the most verbose one. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The formats of the log. `auto` is `text` on a terminal and `json` everywhere else. */
export const LOG_FORMATS = ["auto", "json", "text"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export type LogFields = Readonly<Record<string, unknown>>;

/** Logs events: a short constant phrase for what happened, and fields for the details. */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** Returns a logger that adds these fields to each of its events. */
  child(fields: LogFields): Logger;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly clock: Pick<Clock, "now">;
  /** Writes one line, newline included; by default to standard error. */
  readonly write?: (line: string, level: LogLevel) => void;
}

/** Made with the first logger that writes there. */
let standardError: ReturnType<typeof bursts> | undefined;

/** Creates a logger that writes one line for each event, within `BURST_MS`, and never throws. */
export function createLogger(options: LoggerOptions): Logger {
  const write = options.write ?? (standardError ??= bursts(writeToStandardError));
  const text = options.format === "text" || (options.format === "auto" && onTerminal());
  const format = text ? textLine : jsonLine;
  const threshold = LOG_LEVELS.indexOf(options.level);

  const withFields = (bound: LogFields): Logger => {
    const at = (level: LogLevel) => {
      if (LOG_LEVELS.indexOf(level) < threshold) return () => undefined;
      return (event: string, fields?: LogFields): void => {
        const time = new Date(options.clock.now()).toISOString();
        write(format(time, level, event, plainFields({ ...bound, ...fields })), level);
      };
    };
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: (fields) => withFields({ ...bound, ...fields }),
    };
  };
  return withFields({});
}

/** Prints a line that is not an event to standard error, behind all events that have been logged. Never throws. */
export function printBesidesLog(line: string): void {
  // As with a warning, nothing is kept back any longer.
  (standardError ??= bursts(writeToStandardError))(line, "warn");
}

/** Returns whether standard error is a terminal. The module for that is only loaded if it may be one. */
function onTerminal(): boolean {
  try {
    return fstatSync(2).isCharacterDevice() && process.getBuiltinModule("node:tty").isatty(2);
  } catch {
    return false; // it is closed
  }
}

type PlainFields = Readonly<Record<string, Plain>>;
type Plain = string | number | boolean | null | undefined | readonly Plain[] | { readonly [key: string]: Plain };

function jsonLine(time: string, level: LogLevel, event: string, fields: PlainFields): string {
  const reserved = { time, level, event };
  // First for the order, and again last so that no field can replace them.
  return `${JSON.stringify(Object.assign({ ...reserved }, fields, reserved))}\n`;
}

function textLine(time: string, level: LogLevel, event: string, fields: PlainFields): string {
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${oneLine(event)}`;
  let stack = "";
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const trace = isRecord(value) ? value["stack"] : undefined;
    // A stack goes below the line, indented, so that people can read it.
    if (typeof trace === "string") stack += `\n    ${trace.replaceAll("\n", "\n    ")}`;
    const shown = typeof trace === "string" && isRecord(value) ? value["message"] : value;
    line += ` ${oneLine(key)}=${typeof shown === "string" && !/[\s"=]/.test(shown) && shown !== "" ? oneLine(shown) : oneLine(JSON.stringify(shown) ?? "")}`;
  }
  return `${line}${printable(stack)}\n`;
}

/** Keeps a value that somebody else chose from starting a new line. */
function oneLine(text: string): string {
  return printable(text).replaceAll("\n", "\\n");
}

/** Escapes control characters other than newlines, which could control the terminal. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function isRecord(value: Plain): value is { readonly [key: string]: Plain } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const MAX_DEPTH = 6;
const MAX_ENTRIES = 100;
const MAX_TEXT = 16 * 1024;
const UNREADABLE = "[unreadable]";

function plainFields(fields: LogFields): PlainFields {
  return Object.fromEntries(Object.keys(fields).map((key) => [key, plainField(fields, key)]));
}

function plainField(fields: LogFields, key: string): Plain {
  try {
    const value = fields[key];
    // Nearly all fields are one of these.
    if (value === null || (typeof value === "string" && value.length <= MAX_TEXT)) return value;
    return plain(value, []);
  } catch {
    return UNREADABLE;
  }
}

/** Converts any value to JSON's types, bounded in depth and size. `above` are the objects that contain it. */
function plain(value: unknown, above: readonly object[]): Plain {
  if (value === null || value === undefined) return value;
  if (typeof value === "string") return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}...` : value;
  if (typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "bigint" || typeof value === "symbol") return value.toString();
  if (typeof value !== "object") return "[function]";
  if (above.includes(value)) return "[circular]";
  if (above.length >= MAX_DEPTH) return "[deeper]";
  const path = [...above, value];
  if (value instanceof Error) return plainError(value, path);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Map || value instanceof Set) return plain([...value], path);
  if (Array.isArray(value)) return value.slice(0, MAX_ENTRIES).map((entry) => attempt(() => plain(entry, path)));
  return plainObject(value, path);
}

function plainObject(value: object, path: readonly object[]): Plain {
  const keys = Object.keys(value).slice(0, MAX_ENTRIES);
  // Each property is read separately: a getter that throws must not hide the others.
  return Object.fromEntries(keys.map((key) => [key, attempt(() => plain(Reflect.get(value, key), path))]));
}

function plainError(error: Error, path: readonly object[]): Plain {
  const { name, message, stack, cause } = error;
  return {
    name,
    message: plain(message, path),
    ...(stack === undefined ? {} : { stack: plain(stack, path) }),
    ...(cause === undefined ? {} : { cause: attempt(() => plain(cause, path)) }),
    ...(error instanceof AggregateError ? { errors: attempt(() => plain(error.errors, path)) } : {}),
    // Such as `reason`, `code` and `errno`.
    ...Object.fromEntries(
      Object.entries(error)
        .filter(([key]) => !["name", "message", "stack", "cause", "errors"].includes(key))
        .map(([key, value]) => [key, attempt(() => plain(value, path))]),
    ),
  };
}

function attempt(read: () => Plain): Plain {
  try {
    return read();
  } catch {
    return UNREADABLE;
  }
}

/** The longest time that a line is kept back, in milliseconds. */
const BURST_MS = 10;

/**
 * Passes on a line at once, and those of the next moment together: under load each write would cost as much as the rest of
 * a line, and wake the reader of the log. A warning or an error is not kept back, nor are the lines before it.
 */
export function bursts(write: (text: string) => void): (line: string, level: LogLevel) => void {
  let kept = "";
  let isBurst = false;
  const passOn = () => {
    const text = kept;
    kept = "";
    if (text !== "") write(text);
  };
  const wait = () => {
    isBurst = true;
    setTimeout(() => {
      isBurst = kept !== "";
      passOn();
      if (isBurst) wait();
    }, BURST_MS).unref();
  };
  process.on("exit", passOn);
  return (line, level) => {
    kept += line;
    if (!isBurst || level === "warn" || level === "error") passOn();
    if (!isBurst) wait();
  };
}

/**
 * Writes synchronously, so that the last lines before an exit arrive. Not through `process.stderr`: a reader that goes away
 * would end the whole process.
 */
function writeToStandardError(line: string): void {
  const bytes = Buffer.from(line);
  try {
    for (let sent = 0; sent < bytes.length;) sent += writeSync(2, bytes, sent);
  } catch {
    // Nobody reads the log, or its pipe is full. The server goes on without it.
  }
}
