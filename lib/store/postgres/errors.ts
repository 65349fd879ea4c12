import { AppError, codeOf, messageOf } from "../../domain/errors.ts";

/** Thrown if a statement has not been answered in time: its connection is given up. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/** Seconds after which a client may try again while the database is away. */
const AWAY_RETRY_S = 2;

/** Returns PostgreSQL's own code of an error (SQLSTATE), or an empty text. */
export function sqlStateOf(error: unknown): string {
  return error instanceof Error && "errno" in error && typeof error.errno === "string" ? error.errno : "";
}

/** Returns whether a statement or a transaction failed as its connection was cut, or as the database is away. */
export function isCut(error: unknown): boolean {
  const state = sqlStateOf(error);
  // 08: connection exceptions; 57P01 to 57P05: the server stops, has crashed, starts, or ends the session; 25P03: it was idle.
  if (state.startsWith("08") || state.startsWith("57P0") || state === "25P03") return true;
  return (
    codeOf(error).startsWith("ERR_POSTGRES_CONNECTION") ||
    ["ECONNREFUSED", "ECONNRESET", "ENOENT"].includes(codeOf(error))
  );
}

/** Returns whether a transaction was undone as another one was in its way: to run it again is right. */
export function isRival(error: unknown): boolean {
  return ["40001", "40P01"].includes(sqlStateOf(error));
}

/** Turns an error of the database into one that a caller may see; anything unexpected stays as it is, and becomes a 500. */
export function mapError(error: unknown): unknown {
  // 55P03, 57014: a lock, or the statement, took longer than it may.
  if (error instanceof DeadlineError || isCut(error) || ["55P03", "57014"].includes(sqlStateOf(error))) {
    return new AppError("database_unavailable", "The database does not answer: try again later", {
      cause: error,
      retry_after_s: AWAY_RETRY_S,
    });
  }
  const state = sqlStateOf(error);
  if (state === "22021") {
    return new AppError("invalid_request", "A text with the character U+0000 cannot be stored: leave it out", {
      cause: error,
    });
  }
  if (state === "53100") {
    const message = "Cannot write the database: its disk is full: make room there, then try again";
    return new AppError("storage_full", message, { cause: error, retry_after_s: 10 });
  }
  return error;
}

/** Returns the message for a database that could not be opened. The URL, which has a password, is not in it. */
export function openProblem(error: unknown): string {
  const state = sqlStateOf(error);
  const hint = state.startsWith("28")
    ? "check its user and password"
    : state === "3D000"
      ? "create it first"
      : "check the address, and that PostgreSQL runs";
  return `Cannot open the database of DATABASE_URL (${messageOf(error)}): ${hint}`;
}
