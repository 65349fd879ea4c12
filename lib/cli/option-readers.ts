import { InvalidArgumentError } from "commander";
import { ConfigError } from "../config/config.ts";
import { fileProblem } from "./file-problem.ts";

/** Reads a whole number from 1. */
export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a whole number from 1.");
}

const UNITS_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Reads a moment: RFC 3339, or how long ago it was, such as `90m`, `1h` or `7d`. Returns RFC 3339, which the server checks. */
export function ago(text: string): string {
  const [, digits, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (digits !== undefined && (unit === "m" || unit === "h" || unit === "d"))
    return new Date(Date.now() - Number(digits) * UNITS_MS[unit]).toISOString();
  if (/^\d{4}-/.test(text)) return text;
  throw new InvalidArgumentError("Give a time such as 2026-01-31T12:00:00Z, or how long ago, such as 90m, 1h or 7d.");
}

/** Collects the values of an option that may be given several times, each a value or several separated by commas. */
export function list(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...text.split(",").map((one) => one.trim())];
}

/** Collects the values of an option that may be given several times. */
export function repeated(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** Reads a value that may be in a file: `@FILE` is the content of a file, `-` and `@-` of standard input. */
export async function contentOf(value: string): Promise<Uint8Array<ArrayBuffer>> {
  if (value === "-" || value === "@-") return new Uint8Array(await Bun.stdin.arrayBuffer());
  if (!value.startsWith("@")) return Uint8Array.from(Buffer.from(value));
  const file = value.slice(1);
  try {
    return new Uint8Array(await process.getBuiltinModule("node:fs/promises").readFile(file));
  } catch (error) {
    throw new ConfigError(`Cannot read "${file}": ${fileProblem(error)}`, { cause: error });
  }
}
