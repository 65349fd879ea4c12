import { InvalidArgumentError } from "commander";
import { ConfigError } from "../config/config.ts";
import { fileProblem } from "./file-problem.ts";

/** Reads a whole number from 1. */
export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a whole number from 1.");
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
