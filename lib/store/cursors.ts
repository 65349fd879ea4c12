import { AppError } from "../domain/errors.ts";

/** The position of an invocation in every list. */
export interface Position {
  readonly created_at: string;
  readonly id: string;
}

/** Returns a cursor, which is opaque to clients: the position of the last record of a page. */
export function encodeCursor({ created_at, id }: Position): string {
  return Buffer.from(JSON.stringify([created_at, id])).toString("base64url");
}

/** Returns the position of a cursor. Throws `invalid_request` if no page gave it. */
export function decodeCursor(cursor: string): Position {
  const place = attempt(() => JSON.parse(Buffer.from(cursor, "base64url").toString()) as unknown);
  if (Array.isArray(place) && place.length === 2) {
    const created_at: unknown = place[0];
    const id: unknown = place[1];
    if (typeof created_at === "string" && typeof id === "string" && encodeCursor({ created_at, id }) === cursor) {
      return { created_at, id };
    }
  }
  throw new AppError(
    "invalid_request",
    'Invalid "cursor": send "next_cursor" of the page before as it is, or leave it out',
  );
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
