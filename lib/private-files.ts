import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
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

/** Keys and certificates are far smaller than this. */
const KEY_FILE_BYTES = 1024 * 1024;

/**
 * Reads a file with a key, or another small text. Throws at once for what is not a regular file: a fifo would keep the
 * server waiting for whoever writes to it, and a device may have no end.
 */
export function readSmallFile(path: string): string {
  // Without waiting for the other end of a fifo.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const file = fstatSync(descriptor);
    if (!file.isFile()) throw new Error("it is not a regular file");
    if (file.size > KEY_FILE_BYTES) throw new Error(`it has more than ${KEY_FILE_BYTES} bytes`);
    return readFileSync(descriptor, "utf8");
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Takes the rights of all but its owner from a file, if it exists: an older program may have made it readable for all.
 * One of another owner stays as it is. Returns whether something was changed.
 */
export function makePrivate(path: string): boolean {
  const file = statSync(path, { throwIfNoEntry: false });
  if (file === undefined || !file.isFile() || (file.mode & 0o077) === 0) return false;
  try {
    chmodSync(path, 0o600);
    return true;
  } catch (error) {
    if (["EPERM", "EROFS", "ENOTSUP"].includes(codeOf(error))) return false;
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
