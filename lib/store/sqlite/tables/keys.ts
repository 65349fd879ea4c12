import { Key } from "../../../domain/keys.ts";
import type { Cache } from "../database/cache.ts";
import type { Database, Statement } from "../database/database.ts";
import type { FunctionStore } from "./functions.ts";
import { deepFreeze, fromJson } from "../database/json.ts";

/** A key and what its token is known by: SHA-256, in hex. */
export interface StoredKey {
  readonly key: Key;
  readonly hash: string;
}

/** A key as its row. */
type KeyRow = Omit<Key, "scopes"> & { readonly scopes: string; readonly hash: string };

const COLUMNS = [...Object.keys(Key.properties), "hash"];

/** Keys, the only place of their SQL. Changes are on the disk when the promise of a method is fulfilled. */
export class KeyStore {
  readonly #database: Database;
  readonly #byHash: Cache<StoredKey>;
  readonly #insert: Statement<never>;
  readonly #revoke: Statement<never>;
  readonly #use: Statement<never>;
  readonly #forgetDead: Statement<never>;
  readonly #count: Statement<{ count: number }>;
  readonly #get: Statement<KeyRow>;
  readonly #find: Statement<KeyRow>;
  readonly #list: Statement<KeyRow>;

  constructor(database: Database, functions: FunctionStore) {
    const names = COLUMNS.join();
    this.#database = database;
    this.#byHash = database.cache();
    // The keys of a function go with it.
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
    const row = this.#get.get({ id });
    return row && keyOf(row).key;
  }

  /** The key whose token has this hash. Asked for at every request with a key; the record is shared, and frozen. */
  findByHash(hash: string): StoredKey | undefined {
    return this.#byHash.get(hash, () => {
      const row = this.#find.get({ hash });
      return row && deepFreeze(keyOf(row));
    });
  }

  /** All keys, oldest first, those among them that are revoked or have expired. */
  list(): Key[] {
    return this.#list.all().map((row) => keyOf(row).key);
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  async insert({ key, hash }: StoredKey): Promise<void> {
    await this.#durably(() => this.#insert.run({ ...key, scopes: JSON.stringify(key.scopes), hash }));
  }

  /** Marks a key as revoked, unless it is; undefined where there is none. */
  revoke(id: string, revoked_at: string): Promise<Key | undefined> {
    return this.#durably(() => {
      this.#revoke.run({ id, revoked_at });
      return this.get(id);
    });
  }

  /** Removes the keys that are revoked or have expired. */
  async forgetDead(now: string): Promise<void> {
    await this.#durably(() => this.#forgetDead.run({ now }));
  }

  /** Notes when keys were last used; a crash of the machine may forget it. */
  noteUses(uses: Iterable<readonly [id: string, last_used_at: string]>): void {
    this.#database.transaction("fast", () => {
      for (const [id, last_used_at] of uses) this.#use.run({ id, last_used_at });
    });
  }

  #durably<T>(work: () => T): Promise<T> {
    return this.#database.durably(work, () => this.#byHash.clear());
  }
}

function keyOf({ id, name, scopes, hash, ...row }: KeyRow): StoredKey {
  return { hash, key: { id, name, scopes: fromJson(scopes), ...row } };
}
