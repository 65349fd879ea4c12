import { AppError, codeOf, messageOf } from "../../domain/errors.ts";

/** Thrown if a statement has not been answered in time: its connection is given up. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/** Thrown if a connection leads to another primary than the one that was written to: nothing was done there. */
export class OtherPrimaryError extends Error {
  override readonly name = "OtherPrimaryError";

  /** The difference is the end of a sentence about the new one. */
  constructor(difference: string) {
    super(
      `The database is not the one that was used before (${difference}). Let its address lead to the primary; if this one is right, start Slipway again`,
    );
  }
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
  // 08: connection exceptions; 57P01 to 57P05: the server stops, has crashed, starts, or ends the session; 25P03 and 25P04: it was idle, or the transaction
  // took longer than an administrator allows.
  if (state.startsWith("08") || state.startsWith("57P0") || state === "25P03" || state === "25P04") return true;
  return (
    codeOf(error).startsWith("ERR_POSTGRES_CONNECTION") ||
    ["ECONNREFUSED", "ECONNRESET", "ENOENT"].includes(codeOf(error))
  );
}

/** Returns whether a transaction was undone as another one was in its way: to run it again is right. */
export function isRival(error: unknown): boolean {
  return ["40001", "40P01"].includes(sqlStateOf(error));
}

/** Returns whether a transaction was undone as another one had a lock for too long, or was in its way; also of an error that was mapped. */
export function isInTheWay(error: unknown): boolean {
  const cause = error instanceof AppError ? error.cause : error;
  return isRival(cause) || sqlStateOf(cause) === "55P03";
}

/** Returns whether nothing was done as the database of that connection can only be read: another one may have taken its place. */
function isReadOnly(error: unknown): boolean {
  // 55000: a standby knows no position in the log.
  return ["25006", "55000"].includes(sqlStateOf(error));
}

/** Returns whether nothing was done, and a new connection may lead to the right database. */
export function isElsewhere(error: unknown): boolean {
  return isReadOnly(error) || error instanceof OtherPrimaryError;
}

/**
 * States and classes of states that say that the database cannot do anything now, whatever it is asked for: 28: the login is refused; 3D000: there is
 * no such database; 53: it lacks connections or memory; 55P03, 57014: a lock, or the statement, took longer than it may; 58: its system fails.
 */
const UNABLE = ["28", "3D000", "53", "55P03", "57014", "58"];

/** Errors of TLS, before anything was asked. */
const TLS = /^(ERR_TLS|ERR_SSL|ERR_POSTGRES_TLS|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH)/;

function isUnable(error: unknown): boolean {
  const state = sqlStateOf(error);
  return UNABLE.some((start) => state.startsWith(start)) || TLS.test(codeOf(error));
}

/** Turns an error of the database into one that a caller may see; anything unexpected stays as it is, and becomes a 500. */
export function mapError(error: unknown): unknown {
  const state = sqlStateOf(error);
  if (state === "53100") {
    const message = "Cannot write the database: its disk is full: make room there, then try again";
    return new AppError("storage_full", message, { cause: error, retry_after_s: 10 });
  }
  if (isReadOnly(error)) return unavailable("The database can only be read: try again later", error);
  if (error instanceof OtherPrimaryError) return unavailable(error.message, error);
  if (error instanceof DeadlineError || isCut(error)) {
    return unavailable("The database does not answer: try again later", error);
  }
  // After all tries.
  if (isRival(error)) return unavailable("The database is too busy: try again later", error);
  if (isUnable(error)) return unavailable("The database cannot be used: try again later", error);
  // 22021: in a parameter; 22P05: in its JSON.
  if (state === "22021" || state === "22P05") {
    return new AppError("invalid_request", "A text with the character U+0000 cannot be stored: leave it out", {
      cause: error,
    });
  }
  return error;
}

function unavailable(message: string, cause: unknown): AppError {
  return new AppError("database_unavailable", message, { cause, retry_after_s: AWAY_RETRY_S });
}

/** The remedies for a database that cannot be opened, by the states that say why; the first that fits. */
const HINTS: readonly (readonly [states: readonly string[], hint: string])[] = [
  [["28"], "check its user and password"],
  [["3D000"], "create it first"],
  [["42501"], "let its user own the database"],
  [["3F000"], "create the schema that is its search_path"],
  // A pool of connections does not know the limits of sessions, or gives a session's statements to another one.
  [["08P01", "26000", "42P05"], "give the address of PostgreSQL itself, not that of PgBouncer"],
  [["22023", "42704"], "check the parameters of its URL"],
  [["53100"], "make room on its disk"],
  [["53"], "let it have more connections"],
  [["25006", "55000"], "give the address of the primary, or let it be written"],
];

/** Returns the message for a database that could not be opened. The URL, which has a password, is not in it. */
export function openProblem(error: unknown): string {
  const { cause, hint } = diagnosis(error);
  return `Cannot open the database of DATABASE_URL (${messageOf(cause)}): ${hint}`;
}

/** Returns what is wrong with a database that was open, in PostgreSQL's own words, and what to do about it: for the log. */
export function awayProblem(error: unknown): string {
  const { cause, hint } = diagnosis(error);
  if (cause instanceof OtherPrimaryError) return cause.message; // has its own remedy
  return `${messageOf(cause)}: ${hint}`;
}

/** Returns an error as `mapError` makes them for callers, with what the owner of the database can do about it in place of "try again later". */
export function withRemedy(error: unknown): unknown {
  const { cause, hint } = diagnosis(error);
  if (!(error instanceof AppError) || cause === error || cause instanceof OtherPrimaryError) return error;
  return new AppError(error.reason, error.message.replace(/: try again later$/, `: ${hint}`), { cause });
}

function diagnosis(error: unknown): { readonly cause: unknown; readonly hint: string } {
  const cause = error instanceof AppError && error.cause instanceof Error ? error.cause : error;
  const state = sqlStateOf(cause);
  const known = HINTS.find(([states]) => states.some((start) => state.startsWith(start)))?.[1];
  return { cause, hint: known ?? (TLS.test(codeOf(cause)) ? TLS_HINT : "check the address, and that PostgreSQL runs") };
}

const TLS_HINT =
  'check that PostgreSQL has "ssl = on", and that its certificate is for this name and of an authority that is trusted: one of your own is named by sslrootcert=FILE in the URL';
