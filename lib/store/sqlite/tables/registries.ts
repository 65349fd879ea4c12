import type { Registry } from "../../../domain/images/registries.ts";
import type { Database, Statement } from "../database/database.ts";

/** The credentials of a registry as their row; the secret is sealed. */
export type RegistryRow = Registry & { readonly secret: string };

/** Credentials of registries, the only place of their SQL. Pulls are rare, so none of them are kept in memory. */
export class RegistryStore {
  readonly #database: Database;
  readonly #put: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #get: Statement<RegistryRow>;
  readonly #list: Statement<Registry>;
  readonly #count: Statement<{ count: number }>;

  constructor(database: Database) {
    this.#database = database;
    this.#put = database.prepare(
      "insert into registries (host, kind, username, secret, checked_at, created_at, updated_at) " +
        "values ($host, $kind, $username, $secret, $checked_at, $created_at, $updated_at) on conflict (host) do update set " +
        "kind = excluded.kind, username = excluded.username, secret = excluded.secret, checked_at = excluded.checked_at, updated_at = excluded.updated_at",
    );
    this.#delete = database.prepare("delete from registries where host = $host");
    this.#get = database.prepare("select * from registries where host = $host");
    this.#list = database.prepare(
      "select host, kind, username, checked_at, created_at, updated_at from registries order by host",
    );
    this.#count = database.prepare("select count(*) as count from registries");
  }

  get(host: string): RegistryRow | undefined {
    return this.#get.get({ host });
  }

  /** All registries by host, without their secrets. */
  list(): Registry[] {
    return this.#list.all();
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  /**
   * Puts what `change` makes of each registry as it is then in its place, all of them or, where it throws, none. Settles
   * when they are on the disk.
   */
  put<T extends { readonly host: string }>(
    those: readonly T[],
    change: (one: T, current: RegistryRow | undefined) => RegistryRow,
  ): Promise<{ readonly before: RegistryRow | undefined; readonly after: RegistryRow }[]> {
    return this.#database.durably(() =>
      those.map((one) => {
        const before = this.get(one.host);
        const after = change(one, before);
        this.#put.run({ ...after });
        return { before, after };
      }),
    );
  }

  /** Deletes the credentials of a registry and tells what they were. Undefined where there are none. */
  delete(host: string): Promise<RegistryRow | undefined> {
    return this.#database.durably(() => {
      const found = this.get(host);
      this.#delete.run({ host });
      return found;
    });
  }
}
