import type { Function } from "../../../domain/functions/functions.ts";
import { SETTING_DEFAULTS } from "../../../domain/functions/settings.ts";
import { VERSIONS } from "../../../domain/limits.ts";
import type { VersionQuery } from "../../../domain/functions/versions.ts";
import type { Cache } from "../database/cache.ts";
import type { Database, Statement } from "../database/database.ts";
import { deepFreeze, fromJson } from "../database/json.ts";

interface Row {
  readonly record: string;
}

/** The versions that routes name. */
const NAMED = `
  select function_id, version from routes where version is not null
  union
  select function_id, split ->> 'version' as version from routes where split is not null`;

/**
 * Versions of functions, the only place of their SQL. Each is a whole record, and never changed, but that an image that
 * was not known is added; the one that the function is now is among them.
 */
export class VersionStore {
  readonly #database: Database;
  readonly #byNumber: Cache<Function>;
  readonly #insert: Statement<never>;
  readonly #prune: Statement<never>;
  readonly #complete: Statement<never>;
  readonly #get: Statement<Row>;
  readonly #list: Statement<Row>;
  readonly #named: Statement<{ version: number }>;
  readonly #allNamed: Statement<{ id: string; version: number }>;

  constructor(database: Database) {
    this.#database = database;
    this.#byNumber = database.cache();
    this.#insert = database.prepare(
      "insert into versions (function_id, version, image_id, record, created_at) values ($id, $version, $image_id, $record, $updated_at)",
    );
    this.#prune = database.prepare(
      `delete from versions where function_id = $id and version in (
         select version from versions where function_id = $id and version not in (
           select version from (${NAMED}) where function_id = $id
         )
         order by version desc limit -1 offset ${VERSIONS}
       )`,
    );
    this.#complete = database.prepare(
      "update versions set image_id = $image_id, record = json_set(record, '$.image_id', $image_id, '$.digest', $digest) " +
        "where function_id = $id and version = $version and image_id is null",
    );
    this.#get = database.prepare("select record from versions where function_id = $id and version = $version");
    this.#list = database.prepare(
      "select record from versions where function_id = $id and version < $below order by version desc limit $limit",
    );
    this.#named = database.prepare(`select version from (${NAMED}) where function_id = $id`);
    this.#allNamed = database.prepare(`select function_id as id, version from (${NAMED})`);
  }

  /** A version as it was, its function's name and times included. The record is shared by all who ask, and frozen. */
  get(id: string, version: number): Function | undefined {
    return this.#byNumber.get(`${id} ${version}`, () => {
      const row = this.#get.get({ id, version });
      return row && recordOf(row);
    });
  }

  /** The versions of a function below a number, newest first. */
  list(id: string, { below, limit }: VersionQuery): Function[] {
    return this.#list.all({ id, below, limit }).map(recordOf);
  }

  /** The versions of a function that routes name. */
  named(id: string): number[] {
    return this.#named.all({ id }).map(({ version }) => version);
  }

  /** The versions of all functions that routes name, each once. */
  allNamed(): readonly { readonly id: string; readonly version: number }[] {
    return this.#allNamed.all();
  }

  /** Part of the transaction that changes the function: adds what it is now, and lets the oldest go that nobody names. */
  add(fn: Function): void {
    const { id, version, image_id, updated_at } = fn;
    this.#insert.run({ id, version, image_id, record: JSON.stringify(fn), updated_at });
    this.#prune.run({ id });
  }

  /** Part of a transaction: adds the image to a version of an older database, which did not know it. */
  complete({ id, version, image_id, digest }: Pick<Function, "id" | "version" | "image_id" | "digest">): void {
    this.#complete.run({ id, version, image_id, digest });
  }

  /** The same by itself: for a version that its function is no more. */
  async completeOld(fn: Pick<Function, "id" | "version" | "image_id" | "digest">): Promise<void> {
    await this.#database.durably(
      () => this.complete(fn),
      () => this.forget(),
    );
  }

  /** Functions have changed. */
  forget(): void {
    this.#byNumber.clear();
  }
}

/** What an older server wrote lacks the settings that there were not yet. */
function recordOf({ record }: Row): Function {
  return deepFreeze({ ...SETTING_DEFAULTS, ...fromJson<Function>(record) });
}
