import { rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf, messageOf } from "../../domain/errors.ts";
import { parseSecretKey, SECRET_KEY_FORM } from "../../domain/parse-secret-key.ts";
import type { Logger } from "../../log.ts";
import { giveName, isDiskFull, makePrivateFile, readSmallFile, syncFile } from "../../private-files.ts";
import { StoreError } from "../../store/errors.ts";

/** Returns the path of the key made at the first start: not in the database, so that a copy of it reveals no secret. */
export function keyFilePath(dataPath: string): string {
  return join(dataPath, "secret.key");
}

/** Reads the key in the file at `path`; undefined if there is no file. Throws a `StoreError` if it holds no key. */
export function readKeyFile(path: string, log: Logger): Uint8Array | undefined {
  const shown = JSON.stringify(path);
  let text: string;
  try {
    text = readSmallFile(path);
    if ((statSync(path).mode & 0o077) !== 0) {
      log.warn("the secret key can be read by others than its owner: chmod 600 it", { path });
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new StoreError(
      `Cannot read the secret key ${shown} (${messageOf(error)}): make it a file that this user may read, or give the key as SECRET_KEY`,
      { cause: error },
    );
  }
  const key = parseSecretKey(text);
  if (key === undefined) {
    throw new StoreError(`The file ${shown} holds no key: put the right one back (${SECRET_KEY_FORM})`);
  }
  return key;
}

/** Writes a new key: complete under its name and on the disk, or not at all. Throws a `StoreError`. */
export function makeKeyFile(path: string, key: Uint8Array): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    rmSync(temporary, { force: true });
    makePrivateFile(temporary);
    writeFileSync(temporary, `${Buffer.from(key).toString("base64")}\n`);
    syncFile(temporary);
    giveName(temporary, path);
    syncFile(path);
  } catch (error) {
    rmSync(temporary, { force: true });
    const why = isDiskFull(error)
      ? "its disk is full: make room there, then start again"
      : `${messageOf(error)}: make its directory writable for this user, or give a key as SECRET_KEY`;
    throw new StoreError(`Cannot write the secret key ${JSON.stringify(path)}: ${why}`, { cause: error });
  }
}
