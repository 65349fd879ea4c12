import { AppError, codeOf, messageOf } from "../../domain/errors.ts";
import { isDiskFull } from "../../private-files.ts";
import { StoreError } from "../errors.ts";

/** Returns whether a statement failed on a unique column (or primary key), or on a foreign key. */
export function violates(error: unknown, kind: "unique" | "foreign key"): boolean {
  const code = codeOf(error);
  return kind === "unique"
    ? code === "SQLITE_CONSTRAINT_UNIQUE" || code === "SQLITE_CONSTRAINT_PRIMARYKEY"
    : code === "SQLITE_CONSTRAINT_FOREIGNKEY";
}

/**
 * SQLite's codes for a write that found no room. A full disk is `SQLITE_FULL` in most places, but a quota is
 * `SQLITE_IOERR_WRITE`, and the index of the write-ahead log has a code of its own.
 */
const FULL = new Set(["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_FSYNC"]);

export function isFull(error: unknown): boolean {
  return FULL.has(codeOf(error)) || isDiskFull(error);
}

/** Turns an error of SQLite or of a sync into one that a caller may see; anything unexpected stays as it is, and becomes a 500. */
export function mapRuntimeError(error: unknown): unknown {
  if (!isFull(error)) return error;
  return new AppError("storage_full", "Cannot write the database: its disk is full: make room there, then try again", {
    cause: error,
    retry_after_s: 10,
  });
}

/** Turns an error of opening a file into a message with a remedy. */
export function mapOpenError(error: unknown, path: string): StoreError {
  if (error instanceof StoreError) return error;
  return new StoreError(sentence(error, path), { cause: error });
}

function sentence(error: unknown, path: string): string {
  const shown = JSON.stringify(path);
  const code = codeOf(error);
  if (isFull(error)) return `Cannot write the database ${shown}: its disk is full: make room there, then start again`;
  if (code === "SQLITE_NOTADB") return notADatabase(path);
  if (code.startsWith("SQLITE_CORRUPT")) return damaged(path, messageOf(error));
  if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")) {
    return `The database ${shown} is in use by another program: stop that one, then start again`;
  }
  if (
    code.startsWith("SQLITE_READONLY") ||
    code.startsWith("SQLITE_CANTOPEN") ||
    ["EACCES", "EROFS", "EPERM"].includes(code)
  ) {
    return `Cannot write the database ${shown} (${messageOf(error)}): make the file and its directory writable for this user, or choose another directory with --data-path`;
  }
  return `Cannot open the database ${shown}: ${messageOf(error)}: check its directory and disk, or choose another directory with --data-path`;
}

/** Returns the message for a file that is a damaged database. */
export function damaged(path: string, detail: string): string {
  return `The database ${JSON.stringify(path)} is damaged (${detail}): restore a backup in its place, or move it away to begin with an empty one; it was left as it is`;
}

/** Returns the message for a file that is not a database. */
export function notADatabase(path: string): string {
  return `The file ${JSON.stringify(path)} is not a SQLite database: restore a backup in its place, or move it away to begin with an empty database`;
}
