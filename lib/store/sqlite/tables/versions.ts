import { type Function, FUNCTION_DEFAULTS } from "../../../domain/functions/functions.ts";
import { type Isolation, isolationByCalls } from "../../../domain/functions/isolation.ts";
import { VERSIONS } from "../../../domain/limits.ts";
import type { RenamedImage } from "../../../domain/images/pulled-images.ts";
import type { VersionQuery } from "../../../domain/functions/versions.ts";
import type { VersionStore } from "../../configuration.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
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
 * Versions of functions, the only place of their SQL. Each is a whole record; the one that the function is now is among
 * them.
 */
export class VersionTable implements VersionStore {
  readonly #writer: ConfigurationWriter;
  readonly #byNumber: Cache<Function>;
  /** The numbers that routes name, by function. */
  readonly #namedOf: Cache<readonly number[]>;
  readonly #insert: Statement<never>;
  readonly #prune: Statement<never>;
  readonly #complete: Statement<never>;
  readonly #renameImage: Statement<{ id: string }>;
  readonly #get: Statement<Row>;
  readonly #list: Statement<Row>;
  readonly #named: Statement<{ version: number }>;
  readonly #allNamed: Statement<{ id: string; version: number }>;

  constructor(database: Database, writer: ConfigurationWriter) {
    this.#writer = writer;
    this.#byNumber = database.cache();
    this.#namedOf = database.cache();
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
    this.#renameImage = database.prepare(
      "update versions set image_id = $image_id, record = json_set(record, '$.image_id', $image_id) " +
        "where image_id = $before and record ->> 'digest' is $digest returning function_id as id",
    );
    this.#get = database.prepare("select record from versions where function_id = $id and version = $version");
    this.#list = database.prepare(
      "select record from versions where function_id = $id and version < $below order by version desc limit $limit",
    );
    this.#named = database.prepare(`select version from (${NAMED}) where function_id = $id`);
    this.#allNamed = database.prepare(`select function_id as id, version from (${NAMED})`);
  }

  /** Returns a version as it was, its function's name and times included. Here any version can be had at once. */
  get(id: string, version: number): Function | undefined {
    return this.#byNumber.get(`${id} ${version}`, () => {
      const row = this.#get.get({ id, version });
      return row && recordOf(row);
    });
  }

  async find(id: string, version: number): Promise<Function | undefined> {
    return this.get(id, version);
  }

  async list(id: string, { below, limit }: VersionQuery): Promise<Function[]> {
    return this.#list.all({ id, below, limit }).map(recordOf);
  }

  named(id: string): readonly number[] {
    const read = () => this.#named.all({ id }).map(({ version }) => version);
    return this.#namedOf.get(id, read) ?? [];
  }

  allNamed(): readonly { readonly id: string; readonly version: number }[] {
    return this.#allNamed.all();
  }

  /**
   * Returns the part of the transaction that changes the function: it adds the function as it is now, and removes the
   * oldest versions that no route names.
   */
  adding(fn: Function): () => void {
    const { id, version, image_id, updated_at } = fn;
    const row = { id, version, image_id, record: JSON.stringify(fn), updated_at };
    return () => {
      this.#insert.run(row);
      // Versions are numbered from 1, so there cannot be more of them yet. The look takes 10 times as long as the insert.
      if (version > VERSIONS) this.#prune.run({ id });
    };
  }

  /** Part of a transaction: like `complete`. */
  completeNow({ id, version, image_id, digest }: Pick<Function, "id" | "version" | "image_id" | "digest">): void {
    this.#complete.run({ id, version, image_id, digest });
  }

  async complete(version: Pick<Function, "id" | "version" | "image_id" | "digest">): Promise<void> {
    await this.#writer.write(() => this.completeNow(version), { committed: () => this.forget() });
  }

  /** Part of the transaction that changes the functions: gives versions an image's new id, and returns their functions. */
  renameImageNow(renamed: RenamedImage): string[] {
    return this.#renameImage.all({ ...renamed }).map(({ id }) => id);
  }

  /** Forgets what is cached, after functions have changed. */
  forget(): void {
    this.#byNumber.clear();
  }

  /** Forgets which versions routes name, after routes have changed: that is a look at all of them. */
  routesChanged(): void {
    this.#namedOf.clear();
  }
}

/** Reads a record: one of an older server lacks the fields that it did not know yet. */
function recordOf({ record }: Row): Function {
  const { isolation, ...known } = fromJson<Function & { readonly isolation: Isolation | undefined }>(record);
  return deepFreeze({ ...FUNCTION_DEFAULTS, ...known, isolation: isolation ?? isolationByCalls(known.max_calls) });
}
