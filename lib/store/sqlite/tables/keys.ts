import { Key } from "../../../domain/keys.ts";
import type { Cache } from "../database/cache.ts";
import type { Database, Statement } from "../database/database.ts";
import type { KeyStore } from "../../configuration.ts";
import type { StoredKey } from "../../records.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { FunctionTable } from "./functions.ts";
import { deepFreeze, fromJson } from "../database/json.ts";

/** A key as its row. */
type KeyRow = Omit<Key, "scopes"> & { readonly scopes: string; readonly hash: string };

const COLUMNS = [...Object.keys(Key.properties), "hash"];

/** Keys, the only place of their SQL. */
export class KeyTable implements KeyStore {
  readonly #database: Database;
  readonly #writer: ConfigurationWriter;
  readonly #byHash: Cache<StoredKey>;
  readonly #insert: Statement<never>;
  readonly #revoke: Statement<never>;
  readonly #use: Statement<never>;
  readonly #forgetDead: Statement<never>;
  readonly #count: Statement<{ count: number }>;
  readonly #get: Statement<KeyRow>;
  readonly #find: Statement<KeyRow>;
  readonly #list: Statement<KeyRow>;

  constructor(database: Database, writer: ConfigurationWriter, functions: FunctionTable) {
    const names = COLUMNS.join();
    this.#database = database;
    this.#writer = writer;
    this.#byHash = database.cache();
    // The keys of a function are deleted with it.
    functions.whenChanged(() => this.#byHash.clear());
    this.#insert = database.prepare(
      `insert into keys (${names}) values (${COLUMNS.map((column) => `$${column}`).join()})`,
    );
    this.#revoke = database.prepare("update keys set revoked_at = coalesce(revoked_at, $revoked_at) where id = $id");
    this.#use = database.prepare("update keys set last_used_at = $last_used_at where id = $id");
    this.#forgetDead = database.prepare("delete from keys where revoked_at is not null or expires_at <= $now");
    this.#count = database.prepare("select count(*) as count from keys");
    this.#get = database.prepare(`select ${names} from keys where id = $id`);
    this.#find = database.prepare(`select ${names} from keys where hash = $hash`);
    this.#list = database.prepare(`select ${names} from keys order by created_at, rowid`);
  }

  get(id: string): Key | undefined {
    return this.stored(id)?.key;
  }

  stored(id: string): StoredKey | undefined {
    const row = this.#get.get({ id });
    return row && keyOf(row);
  }

  findByHash(hash: string): StoredKey | undefined {
    return this.#byHash.get(hash, () => {
      const row = this.#find.get({ hash });
      return row && deepFreeze(keyOf(row));
    });
  }

  list(): Key[] {
    return this.#list.all().map((row) => keyOf(row).key);
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  async insert({ key, hash }: StoredKey): Promise<void> {
    await this.#write(() => this.#insert.run({ ...key, scopes: JSON.stringify(key.scopes), hash }));
  }

  revoke(id: string, revoked_at: string): Promise<Key | undefined> {
    return this.#write(() => {
      this.#revoke.run({ id, revoked_at });
      return this.get(id);
    });
  }

  async forgetDead(now: string): Promise<void> {
    await this.#write(() => this.#forgetDead.run({ now }));
  }

  async noteUses(uses: readonly (readonly [id: string, last_used_at: string])[]): Promise<void> {
    await this.#database.fast(() => {
      for (const [id, last_used_at] of uses) this.#use.run({ id, last_used_at });
    });
  }

  #write<T>(work: () => T): Promise<T> {
    return this.#writer.write(work, { committed: () => this.#byHash.clear() });
  }
}

function keyOf({ id, name, scopes, hash, ...row }: KeyRow): StoredKey {
  return { hash, key: { id, name, scopes: fromJson(scopes), ...row } };
}
