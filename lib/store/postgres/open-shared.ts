import type { Clock } from "../../clock.ts";
import { StoreError } from "../errors.ts";
import type { MemberStore } from "../members.ts";
import type { Store } from "../store.ts";
import { Client } from "./client/client.ts";
import { Primary } from "./client/primary.ts";
import { openProblem } from "./errors.ts";
import { moveDatabase, type MovedRows, type MoveOptions, undoMove } from "./move/move.ts";
import { shownUrl } from "./move/target.ts";
import { Presence } from "./presence.ts";
import { openPostgresStore, type PostgresOptions } from "./store.ts";
import { ServerTable } from "./tables/servers.ts";

/** A store that servers share, the clock that they share with it, and these servers. */
export interface SharedStore extends AsyncDisposable {
  readonly store: Store;
  readonly clock: Clock;
  readonly members: MemberStore;
}

/** Opens the database at a URL as the server with an id, which no other may have at the same time. Throws a `StoreError`. */
export async function openShared(
  url: string,
  options: Omit<PostgresOptions, "isPresent" | "isTime" | "primary">,
): Promise<SharedStore> {
  await using made = new AsyncDisposableStack();
  // Apart from the others: a server that is busy is not dead.
  const primary = new Primary();
  const client = made.use(new Client(url, { connections: 1, primary }));
  const presence = made.use(new Presence(client, options));
  await presence.begin().catch((error: unknown) => {
    throw error instanceof StoreError ? error : new StoreError(openProblem(error), { cause: error });
  });
  const { clock } = presence;
  const isPresent = () => presence.isHeld;
  const isTime = (now: number) => presence.isTime(now);
  const store = made.use(await openPostgresStore(url, { ...options, clock, isPresent, isTime, primary }));
  const members = new ServerTable({ client, id: options.server_id, isPresent });
  const owned = made.move();
  return { store, clock, members, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

/** Moves a database as `moveDatabase` does; also returns the new one's URL without user and password. */
export async function moveInto(
  path: string,
  url: string,
  options: MoveOptions,
): Promise<{ readonly rows: MovedRows; readonly place: string }> {
  return { rows: await moveDatabase(path, url, options), place: shownUrl(url) };
}

/** Undoes a move as `undoMove` does. Here, as the bundle has a piece for each module that is loaded by itself. */
export function undoMoveOf(path: string): string | null {
  return undoMove(path);
}
