import type { Clock } from "../../clock.ts";
import type { Store } from "../store.ts";
import { StoreError } from "../errors.ts";
import { openProblem } from "./errors.ts";
import { moveDatabase, type MovedRows, type MoveOptions, undoMove } from "./move/move.ts";
import { placeOf } from "./move/target.ts";
import { Presence } from "./presence.ts";
import { openPostgresStore, type PostgresOptions } from "./store.ts";

/** A store that servers share, and the clock that they share with it. */
export interface SharedStore extends AsyncDisposable {
  readonly store: Store;
  readonly clock: Clock;
}

/** Opens the database at a URL as the server with an id, which no other may have at the same time. Throws a `StoreError`. */
export async function openShared(url: string, options: Omit<PostgresOptions, "isPresent">): Promise<SharedStore> {
  await using made = new AsyncDisposableStack();
  const presence = made.use(new Presence(url, options));
  await presence.begin().catch((error: unknown) => {
    throw error instanceof StoreError ? error : new StoreError(openProblem(error), { cause: error });
  });
  const { clock } = presence;
  const store = made.use(await openPostgresStore(url, { ...options, clock, isPresent: () => presence.isHeld }));
  const owned = made.move();
  return { store, clock, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

/** Moves a database as `moveDatabase` does; also returns the new one's place for people. */
export async function moveInto(
  path: string,
  url: string,
  options: MoveOptions,
): Promise<{ readonly rows: MovedRows; readonly place: string }> {
  return { rows: await moveDatabase(path, url, options), place: placeOf(url) };
}

/** Undoes a move as `undoMove` does. Here, as the bundle has a piece for each module that is loaded by itself. */
export function undoMoveOf(path: string): string | null {
  return undoMove(path);
}
