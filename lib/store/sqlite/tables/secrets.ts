import { AppError } from "../../../domain/errors.ts";
import type { Secret } from "../../../domain/secrets.ts";
import type { Cache } from "../database/cache.ts";
import { SECRETS } from "../../../domain/limits.ts";
import type { Basis, SecretStore } from "../../configuration.ts";
import type { Changed, SealedSecret, SecretUser } from "../../records.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { Database, Statement } from "../database/database.ts";

/**
 * The users of each secret: functions as they are now, and those of their versions that routes name. A function occurs
 * once for each secret.
 */
const USES = `
  select functions.id, functions.name, functions.created_at, used.value ->> 'name' as secret
  from functions, json_each(functions.secrets) as used
  union
  select functions.id, functions.name, functions.created_at, used.value ->> 'name'
  from routes
  join functions on functions.id = routes.function_id
  join versions on versions.function_id = functions.id
    and versions.version in (routes.version, routes.split ->> 'version'),
  json_each(versions.record, '$.secrets') as used`;

/** Secrets, the only place of their SQL. */
export class SecretTable implements SecretStore {
  readonly #writer: ConfigurationWriter;
  readonly #byName: Cache<SealedSecret>;
  readonly #put: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #get: Statement<SealedSecret>;
  readonly #list: Statement<Omit<Secret, "used_by">>;
  readonly #users: Statement<SecretUser>;
  readonly #uses: Statement<SecretUser & { readonly secret: string }>;
  readonly #count: Statement<{ count: number }>;
  readonly #anySealed: Statement<{ found: number }>;
  readonly #followers: ((name: string) => void)[] = [];

  constructor(database: Database, writer: ConfigurationWriter) {
    this.#writer = writer;
    this.#byName = database.cache();
    this.#put = database.prepare(
      "insert into secrets (name, value, bytes, created_at, updated_at) values ($name, $value, $bytes, $created_at, $updated_at) " +
        "on conflict (name) do update set value = excluded.value, bytes = excluded.bytes, updated_at = excluded.updated_at",
    );
    this.#delete = database.prepare("delete from secrets where name = $name");
    this.#get = database.prepare("select * from secrets where name = $name");
    this.#list = database.prepare("select name, created_at, updated_at from secrets order by name");
    this.#users = database.prepare(`select id, name from (${USES}) where secret = $name order by created_at, id`);
    this.#uses = database.prepare(`select id, name, secret from (${USES}) order by created_at, id`);
    this.#count = database.prepare("select count(*) as count from secrets");
    this.#anySealed = database.prepare(
      "select exists (select 1 from secrets) or exists (select 1 from registries) as found",
    );
  }

  get(name: string): SealedSecret | undefined {
    return this.#byName.get(name, () => this.#get.get({ name }));
  }

  list(): Secret[] {
    const users = Map.groupBy(this.#uses.all(), ({ secret }) => secret);
    return this.#list.all().map(({ name, ...times }) => {
      const used_by = (users.get(name) ?? []).map(({ id, name }) => ({ id, name }));
      return { name, used_by, ...times };
    });
  }

  users(name: string): SecretUser[] {
    return this.#users.all({ name });
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  anythingSealed(): boolean {
    return this.#anySealed.get()?.found === 1;
  }

  put(
    secret: SealedSecret,
    basis?: Basis,
  ): Promise<Changed<SealedSecret | undefined> & { readonly after: SealedSecret }> {
    return this.#write(() => {
      const before = this.get(secret.name);
      if (before === undefined && this.count() >= SECRETS) {
        throw new AppError("conflict", `There are ${SECRETS} secrets already: delete some`);
      }
      this.#put.run({ ...secret });
      return { before, after: { ...secret, created_at: before?.created_at ?? secret.created_at } };
    }, basis);
  }

  delete(name: string, { force }: { readonly force: boolean }): Promise<Secret | undefined> {
    return this.#write(() => {
      const found = this.get(name);
      if (found === undefined) return undefined;
      const used_by = this.users(name);
      if (used_by.length > 0 && !force) throw stillUsed(name, used_by);
      this.#delete.run({ name });
      const { created_at, updated_at } = found;
      return { name, used_by, created_at, updated_at };
    });
  }

  follow(run: (name: string) => void): void {
    this.#followers.push(run);
  }

  /** Passes on that another server has changed or deleted these secrets. */
  changedElsewhere(names: readonly string[]): void {
    for (const name of names) for (const run of this.#followers) run(name);
  }

  #write<T>(work: () => T, basis?: Basis): Promise<T> {
    return this.#writer.write(work, { basis, committed: () => this.#byName.clear() });
  }
}

/** The most functions that a message names. */
const NAMED = 5;

function stillUsed(secret: string, users: readonly SecretUser[]): AppError {
  const names = users.slice(0, NAMED).map(({ id, name }) => `"${name ?? id}"`);
  const more = users.length > NAMED ? ` and ${users.length - NAMED} more` : "";
  const [noun, verb] = users.length === 1 ? ["function", "uses"] : ["functions", "use"];
  return new AppError(
    "conflict",
    `Cannot delete secret "${secret}": the ${noun} ${names.join(", ")}${more} ${verb} it; ` +
      `take it out of "secrets" there, or use ?force=true: calls that need it then fail`,
  );
}
