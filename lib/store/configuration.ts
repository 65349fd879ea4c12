import type { ChainLink } from "../domain/functions/chains.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { VersionQuery } from "../domain/functions/versions.ts";
import type { Pulled, PulledImage, RenamedImage } from "../domain/images/pulled-images.ts";
import type { Registry } from "../domain/images/registries.ts";
import type { Page, PageQuery } from "../domain/functions/pages.ts";
import type { Key } from "../domain/keys.ts";
import type { Route } from "../domain/routes/routes.ts";
import type { Schedule } from "../domain/schedules.ts";
import type { Secret } from "../domain/secrets.ts";
import type { Changed, SealedRegistry, SealedSecret, SecretUser, StoredKey } from "./records.ts";

/**
 * The configuration: few records, read at every call. Reads are synchronous, from memory; records are shared by all
 * readers, and frozen. Writes are commands that settle when they are on the disk, and reads see them from then on.
 *
 * A command is either right as of the moment of the write by itself (a taken name is a `conflict`), or it says what it is
 * based on: `replace` takes the record as it was read, and `Basis` the revision of everything that was read. If that has
 * changed meanwhile, nothing is written, and the command throws a `StaleError` (see `retryStale`).
 */
export interface Basis {
  /** The `Store.revision` that was current before the reads that the write depends on. */
  readonly revision: number;
}

/** A change that another server has made, as it can be read here. */
export interface ChangedElsewhere {
  /** The ids of functions that were added, changed or deleted. */
  readonly functions: readonly string[];
  /** True if routes were, too. */
  readonly routes: boolean;
}

/** The rows that another server has changed, by what depends on them. */
export interface RowsElsewhere extends ChangedElsewhere {
  /** The names of secrets. */
  readonly secrets: readonly string[];
  /** The ids of schedules. */
  readonly schedules: readonly string[];
}

export interface FunctionStore {
  get(id: string): Function | undefined;
  /**
   * Returns the function as the writes under way will leave it: the right `before` of a `replace`, which then can share
   * its commit with them. If one of them fails, so does that `replace`, with a `StaleError`.
   */
  latest(id: string): Function | undefined;
  /** Finds a function by its id or else its name. */
  find(idOrName: string): Function | undefined;
  /** Lists all functions, oldest first, at once: 10,000 take a fifth of a second. */
  list(): Function[];
  /** Lists the same in slices, as of one moment. */
  all(): Promise<Function[]>;
  /** Lists the functions of a page, in the order of `list` and in slices. */
  page(query: PageQuery): Promise<Page<Function>>;
  /** Lists all functions as links in chains. */
  links(): ChainLink[];
  count(): number;
  /** Calls `run` from now on with what other servers change, once that can be read here. */
  follow(run: (changed: ChangedElsewhere) => void): void;
  /** Adds a function with its first version. Throws `conflict` if the name is taken. */
  insert(record: Function, basis?: Basis): Promise<void>;
  /** Replaces a function; a new version number adds that version. Throws `conflict` if the name is taken. */
  replace(before: Function, after: Function, basis?: Basis): Promise<void>;
  /**
   * Replaces an image's id in functions and in versions that have it by this digest, or by none; they keep their numbers. Returns the
   * functions that have changed, or have a version that has, as they are now.
   */
  renameImage(renamed: RenamedImage): Promise<Function[]>;
  /**
   * Deletes a function and returns it; undefined if there is none. Throws `conflict` if routes lead to it or other
   * functions name it (`on_success`, `on_failure`), unless `cascade` removes those.
   */
  delete(id: string, options: { readonly cascade: boolean }): Promise<Function | undefined>;
}

/** Versions are never changed, except that an image that was not known is added, and that an image gets another id. */
export interface VersionStore {
  /** Returns a version that a route names, from memory. */
  get(id: string, version: number): Function | undefined;
  /** Returns any version of a function that is kept. */
  find(id: string, version: number): Promise<Function | undefined>;
  /** Lists the versions of a function below a number, newest first. */
  list(id: string, query: VersionQuery): Promise<Function[]>;
  /** Lists the versions of a function that routes name. */
  named(id: string): readonly number[];
  /** Lists the versions of all functions that routes name, each once. */
  allNamed(): readonly { readonly id: string; readonly version: number }[];
  /** Adds the image to a version of an older database, which did not know it. */
  complete(version: Pick<Function, "id" | "version" | "image_id" | "digest">): Promise<void>;
}

export interface RouteStore {
  get(id: string): Route | undefined;
  /** Returns the route of a path, and the rest of the path after a prefix. Called for every request below /r. */
  match(path: string): { readonly route: Route; readonly path_rest: string | null } | undefined;
  /** Returns the route with exactly this path. */
  getByPath(path: string): Route | undefined;
  /** False if no route has a host. Asked at every request. */
  readonly hasHosts: boolean;
  /** Returns the route with this host. */
  atHost(host: string): Route | undefined;
  /** Lists all routes, oldest first, at once, as `FunctionStore.list` does. */
  list(): Route[];
  /** Lists the same in slices, as of one moment. */
  all(): Promise<Route[]>;
  /** Lists the routes of a page, in the order of `list` and in slices. */
  page(query: PageQuery): Promise<Page<Route>>;
  count(): number;
  /** Throws `conflict` if the path or a host is taken, `not_found` if the function is gone. */
  insert(route: Route, basis?: Basis): Promise<void>;
  /** Throws like `insert`. */
  replace(before: Route, after: Route, basis?: Basis): Promise<void>;
  /** Deletes a route and returns it; undefined if there is none. */
  delete(id: string): Promise<Route | undefined>;
}

export interface KeyStore {
  get(id: string): Key | undefined;
  /** Returns a key with the hash of its token. Called for every request of a session. */
  stored(id: string): StoredKey | undefined;
  /** Returns the key whose token has this hash. Called for every request with a key. */
  findByHash(hash: string): StoredKey | undefined;
  /** Lists all keys, oldest first, including those that are revoked or have expired. */
  list(): Key[];
  count(): number;
  insert(stored: StoredKey): Promise<void>;
  /** Marks a key as revoked, unless it is already; undefined if there is none. */
  revoke(id: string, revoked_at: string): Promise<Key | undefined>;
  /** Removes the keys that are revoked or have expired. */
  forgetDead(now: string): Promise<void>;
  /** Notes when keys were last used; a crash of the machine may lose it. */
  noteUses(uses: readonly (readonly [id: string, last_used_at: string])[]): Promise<void>;
}

/** Values are sealed: without its key the database reveals none of them. */
export interface SecretStore {
  /** Returns a secret. Called at every call of a function that uses it. */
  get(name: string): SealedSecret | undefined;
  /** Lists all secrets by name, without their values. */
  list(): Secret[];
  /** Lists the functions that use a secret, oldest first: as they are now, or in a version that a route names. */
  users(name: string): SecretUser[];
  count(): number;
  /** Returns whether there is anything that only the key of the vault can open, the passwords of registries included. */
  anythingSealed(): boolean;
  /** Adds or replaces a secret; one that exists keeps its `created_at`. Throws `conflict` if there are too many. */
  put(
    secret: SealedSecret,
    basis?: Basis,
  ): Promise<Changed<SealedSecret | undefined> & { readonly after: SealedSecret }>;
  /** Deletes a secret and returns it; undefined if there is none. Throws `conflict` if it is used, unless forced. */
  delete(name: string, options: { readonly force: boolean }): Promise<Secret | undefined>;
  /** Calls `run` from now on with the name of each secret that another server changes or deletes, once that can be read here. */
  follow(run: (name: string) => void): void;
}

export interface RegistryStore {
  get(host: string): SealedRegistry | undefined;
  /** Lists all registries by host, without their secrets. */
  list(): Registry[];
  count(): number;
  /** Writes credentials, all or none; known ones keep their `created_at`. Throws `conflict` if there are too many. */
  put(
    those: readonly SealedRegistry[],
  ): Promise<(Changed<SealedRegistry | undefined> & { readonly after: SealedRegistry })[]>;
  /** Deletes the credentials of a registry and returns them; undefined if there are none. */
  delete(host: string): Promise<SealedRegistry | undefined>;
}

export interface ScheduleStore {
  get(id: string): Schedule | undefined;
  /** Lists all schedules, oldest first. */
  list(): Schedule[];
  count(): number;
  /** Throws `not_found` if the function is gone. */
  insert(schedule: Schedule): Promise<void>;
  /** Throws like `insert`. */
  replace(before: Schedule, after: Schedule): Promise<void>;
  /** Deletes a schedule and returns it; undefined if there is none. */
  delete(id: string): Promise<Schedule | undefined>;
  /** Calls `run` from now on with the ids of schedules that another server adds, changes or deletes, once that can be read here. */
  follow(run: (ids: readonly string[]) => void): void;
}

/** The server's own settings. */
export interface SettingStore {
  /** Returns a random id that marks this database's containers; made at the first call, and the same from then on. */
  ownerId(): Promise<string>;
  /** Returns the hash of the key that was made at the first start; null if none was made. */
  apiKeyHash(): string | null;
  setApiKeyHash(hash: string): Promise<void>;
  /** Returns the fingerprint of the key that everything here was sealed with; null if nothing ever was. */
  secretKeyFingerprint(): string | null;
  setSecretKeyFingerprint(fingerprint: string): Promise<void>;
  /** Returns the secrets that callbacks are signed with, sealed; null until the first callback needs them. */
  callbackSecrets(): string | null;
  /** Throws a `StaleError` if they are no longer `before`. */
  replaceCallbackSecrets(before: string | null, after: string): Promise<void>;
  /** Returns the logins that a logout has ended, as they were set; null if there never was one. */
  endedLogins(): string | null;
  /** Replaces them with what `change` makes of them as they are then: on all servers. It may be called more than once. */
  changeEndedLogins(change: (before: string | null) => string): Promise<void>;
  /** Returns the id that an image of functions has on this server's engine; undefined if no other than theirs is known. */
  ownImageId(imageId: string): string | undefined;
  /** Notes that id, and forgets those of images that no version of a function has any more. */
  noteOwnImageId(imageId: string, ownId: string): Promise<void>;
}

/** The images that this server pulled or built. */
export interface PulledImageStore {
  get(imageId: string): PulledImage | undefined;
  list(): PulledImage[];
  /**
   * Lists the images that no function needs if `keep` versions of each are kept, oldest first; not those that are kept for
   * a while in any case.
   */
  unneeded(keep: number): PulledImage[];
  isNeeded(imageId: string, keep: number): boolean;
  /** From now on keeps the images that functions need only as long as they do, whatever was asked for before. */
  noteUsed(keep: number): Promise<void>;
  /** Returns the soonest moment at which an image is no longer kept in any case; undefined if there is none. */
  keptUntil(): string | undefined;
  /** Notes what a pull or a build has changed on the engine. With `keepUntil` the image stays until then in any case. */
  record(pulled: Pulled, keepUntil?: string): Promise<void>;
  delete(imageId: string): Promise<void>;
}

/** A record that a manifest adds (only `after`), changes, or deletes (only `before`). */
export interface ManifestWrite<T> {
  /** The name by which the manifest knows it. */
  readonly name: string;
  readonly before?: T;
  readonly after?: T;
}

/** Everything that a manifest changes: all of it is written, or nothing. */
export interface ManifestWrites {
  readonly functions: readonly ManifestWrite<Function>[];
  readonly routes: readonly ManifestWrite<Route>[];
}
