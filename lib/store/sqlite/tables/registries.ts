import type { Registry } from "../../../domain/images/registries.ts";
import { AppError } from "../../../domain/errors.ts";
import { REGISTRIES } from "../../../domain/limits.ts";
import type { RegistryStore } from "../../configuration.ts";
import type { Changed, SealedRegistry } from "../../records.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { Database, Statement } from "../database/database.ts";

/** Credentials of registries, the only place of their SQL. Pulls are rare, so none of them are kept in memory. */
export class RegistryTable implements RegistryStore {
  readonly #writer: ConfigurationWriter;
  readonly #put: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #get: Statement<SealedRegistry>;
  readonly #list: Statement<Registry>;
  readonly #count: Statement<{ count: number }>;

  constructor(database: Database, writer: ConfigurationWriter) {
    this.#writer = writer;
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

  get(host: string): SealedRegistry | undefined {
    return this.#get.get({ host });
  }

  list(): Registry[] {
    return this.#list.all();
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  put(
    those: readonly SealedRegistry[],
  ): Promise<(Changed<SealedRegistry | undefined> & { readonly after: SealedRegistry })[]> {
    return this.#writer.write(() => those.map((one) => this.#putNow(one)));
  }

  #putNow(one: SealedRegistry) {
    const before = this.get(one.host);
    if (before === undefined && this.count() >= REGISTRIES) {
      throw new AppError("conflict", `There are credentials for ${REGISTRIES} registries already: delete some`);
    }
    this.#put.run({ ...one });
    return { before, after: { ...one, created_at: before?.created_at ?? one.created_at } };
  }

  delete(host: string): Promise<SealedRegistry | undefined> {
    return this.#writer.write(() => {
      const found = this.get(host);
      this.#delete.run({ host });
      return found;
    });
  }
}
