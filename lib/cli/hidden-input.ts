import { Writable } from "node:stream";
import { ConfigError } from "../config/config.ts";

/**
 * Asks for a value on the terminal, without showing what is typed. Throws a `ConfigError` without a terminal, with the words
 * for another way to give it.
 */
export async function readHidden(question: string, otherWay: string): Promise<string> {
  if (!process.stdin.isTTY) throw new ConfigError(`There is no terminal to ask on: use ${otherWay}`);
  const { createInterface } = await import("node:readline/promises");
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: unseen, terminal: true });
  const left = new AbortController();
  terminal.on("close", () => left.abort());
  process.stderr.write(question);
  try {
    return await terminal.question("", { signal: left.signal });
  } catch (error) {
    throw new ConfigError("Nothing was typed", { cause: error });
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}
