import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf } from "./domain/errors.ts";

/**
 * Creates an empty file that only its owner may read, unless it exists: databases hold environments with secrets,
 * and SQLite alone would create them readable for all. Returns whether it was created.
 */
export function makePrivateFile(path: string): boolean {
  try {
    closeSync(openSync(path, "wx", 0o600));
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Makes a file, and its name in its directory, survive a power failure. */
export function syncFile(path: string): void {
  for (const target of [path, dirname(path)]) {
    const descriptor = openSync(target, "r");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
}

/**
 * Gives a complete file its name, which must be free: unlike a rename, a link fails if somebody else has made the file
 * meanwhile. Some file systems have no links.
 */
export function giveName(temporary: string, target: string): void {
  try {
    linkSync(temporary, target);
    rmSync(temporary);
  } catch (error) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(codeOf(error)) || existsSync(target)) throw error;
    renameSync(temporary, target);
  }
}

/** Returns whether a file could not be written because its disk, or a quota, is full. */
export function isDiskFull(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT"].includes(codeOf(error));
}
