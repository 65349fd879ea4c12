import type { ChainLink } from "../../../domain/functions/chains.ts";
import { AppError } from "../../../domain/errors.ts";
import { Function } from "../../../domain/functions/functions.ts";
import type { Page, PageQuery, Position } from "../../../domain/functions/pages.ts";
import type { RenamedImage } from "../../../domain/images/pulled-images.ts";
import type { Cache } from "../database/cache.ts";
import type { Basis, ChangedElsewhere, FunctionStore } from "../../configuration.ts";
import { StaleError } from "../../errors.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { Bindings, Database, Statement } from "../database/database.ts";
import { PendingWrites } from "../database/pending-writes.ts";
import { allOf, pageOf, readAll, readPage, searchOf } from "../database/pages.ts";
import { violates } from "../errors.ts";
import { deepFreeze, fromJson, fromNullableJson } from "../database/json.ts";
import type { VersionTable } from "./versions.ts";

/** Fields that SQLite, which has no booleans, holds as 0 and 1. */
type Flag = "stream" | "buffer_request" | "share_network" | "read_only" | "record_bodies" | "store_credentials";

/** Fields that are JSON in their column; null stays null. */
type Structure = "environment" | "entrypoint" | "command" | "secrets" | "volumes" | "labels" | "retry" | "extra_ports";

/** A function as its row. */
export type FunctionRow = Omit<Function, Structure | Flag> &
  Readonly<Record<Flag, number>> & {
    readonly [field in Structure]: null extends Function[field] ? string | null : string;
  };

/** The columns are the record's fields. */
export const FUNCTION_COLUMNS = Object.keys(Function.properties) as readonly (keyof Function)[]; // keys forgets their type

/** The most different sets of columns whose statements are kept; a change of another set writes all columns. */
const UPDATES = 64;

/** Functions, the only place of their SQL. Each version of a function is written with the change that made it. */
export class FunctionTable implements FunctionStore {
  readonly #writer: ConfigurationWriter;
  readonly #versions: VersionTable;
  /** By id, and by name if they have one. */
  readonly #known: Cache<Function>;
  readonly #listeners: (() => void)[] = [];
  readonly #pending = new PendingWrites<Function>();
  readonly #insert: Statement<never>;
  readonly #database: Database;
  /** By the columns that they change. */
  readonly #updates = new Map<string, Statement<never>>();
  /** Records as this transaction has left them, as long as nothing in it was undone (`Database.epoch`). */
  #left: { readonly epoch: number; readonly records: Map<string, Function> } = { epoch: -1, records: new Map() };
  readonly #delete: Statement<never>;
  readonly #deleteRoutes: Statement<never>;
  readonly #countRoutes: Statement<{ count: number }>;
  readonly #callers: Statement<FunctionRow>;
  readonly #forgetFollower: Statement<never>;
  readonly #links: Statement<ChainLink>;
  readonly #count: Statement<{ count: number }>;
  readonly #get: Statement<FunctionRow>;
  readonly #isId: Statement<unknown>;
  readonly #find: Statement<FunctionRow>;
  readonly #list: Statement<FunctionRow>;
  readonly #places: Statement<{ place: number }>;
  readonly #rowsAt: Statement<FunctionRow>;
  readonly #page: Statement<FunctionRow & Position>;
  readonly #search: () => Statement<FunctionRow & Position>;
  readonly #renameImage: Statement<{ id: string }>;

  readonly #followers: ((changed: ChangedElsewhere) => void)[] = [];

  constructor(database: Database, writer: ConfigurationWriter, versions: VersionTable) {
    const columns = FUNCTION_COLUMNS;
    this.#database = database;
    this.#writer = writer;
    this.#versions = versions;
    this.whenChanged(() => versions.forget());
    this.#known = database.cache();
    this.#insert = database.prepare(
      `insert into functions (${columns.join()}) values (${columns.map((column) => `$${column}`).join()})`,
    );
    this.#delete = database.prepare("delete from functions where id = $id");
    this.#deleteRoutes = database.prepare("delete from routes where function_id = $id");
    this.#countRoutes = database.prepare("select count(*) as count from routes where function_id = $id");
    this.#callers = database.prepare(
      "select * from functions where id <> $id and $id in (on_success, on_failure) order by created_at, rowid",
    );
    this.#forgetFollower = database.prepare(
      `update functions set on_success = nullif(on_success, $id), on_failure = nullif(on_failure, $id)
       where $id in (on_success, on_failure)`,
    );
    this.#links = database.prepare("select id, name, on_success, on_failure from functions");
    this.#count = database.prepare("select count(*) as count from functions");
    this.#get = database.prepare("select * from functions where id = $id");
    this.#isId = database.prepare("select 1 from functions where id = $id");
    // Ids go first: those of an older database may look like names.
    this.#find = database.prepare(
      "select * from functions where id = $key or name = $key order by id = $key desc limit 1",
    );
    this.#list = database.prepare("select * from functions order by created_at, rowid");
    const all = allOf("functions", "*");
    this.#places = database.prepare(all.places);
    this.#rowsAt = database.prepare(all.rows);
    this.#page = database.prepare(pageOf("functions", "*"));
    this.#search = () => database.prepare(searchOf("functions", "*", ["name", "image", "id"]));
    this.#renameImage = database.prepare(
      "update functions set image_id = $image_id where image_id = $before and digest is $digest returning id",
    );
  }

  /** Calls `run` when functions have changed, and routes with them, before anyone can look. */
  whenChanged(run: () => void): void {
    this.#listeners.push(run);
  }

  get(id: string): Function | undefined {
    const found = this.#known.get(id, () => optional(this.#get.get({ id })));
    return found?.id === id ? found : undefined;
  }

  latest(id: string): Function | undefined {
    return this.#pending.get(id) ?? this.get(id);
  }

  find(idOrName: string): Function | undefined {
    return this.#known.get(idOrName, () => optional(this.#find.get({ key: idOrName })));
  }

  list(): Function[] {
    return this.#list.all().map(functionOf);
  }

  all(): Promise<Function[]> {
    return this.#writer.asOfOneMoment(() => this.readNow());
  }

  /** Like `all`, but each record is as of its own moment. */
  readNow(): Promise<Function[]> {
    return readAll(this.#places.all(), (places) => this.#rowsAt.all({ places }), functionOf);
  }

  page(query: PageQuery): Promise<Page<Function>> {
    const search = query.search?.toLowerCase();
    if (search !== undefined) {
      const found = this.#search();
      return readPage<FunctionRow & Position, Function>((place) => found.all({ ...place, search }), query, functionOf);
    }
    return readPage<FunctionRow & Position, Function>((place) => this.#page.all({ ...place }), query, functionOf);
  }

  links(): ChainLink[] {
    return this.#links.all();
  }

  follow(run: (changed: ChangedElsewhere) => void): void {
    this.#followers.push(run);
  }

  /** Passes on what another server has changed. */
  changedElsewhere(changed: ChangedElsewhere): void {
    for (const run of this.#followers) run(changed);
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  async insert(record: Function, basis?: Basis): Promise<void> {
    await this.#writer.write(() => this.insertNow(record), { basis });
  }

  /** Part of a transaction: like `insert`. */
  insertNow(record: Function): void {
    this.inserting(record)();
  }

  /** Returns the part of a transaction that inserts a function. Its row is made now: that is half of the work. */
  inserting(record: Function): () => void {
    const row = functionRow(record);
    const addVersion = this.#versions.adding(record);
    return () => {
      this.#store(record, () => this.#insert.run(row));
      addVersion();
    };
  }

  async replace(before: Function, after: Function, basis?: Basis): Promise<void> {
    const committed = () => {
      this.#forget(before);
      this.#remember(frozen);
    };
    // Its readers share it with the writer: what one of them makes of it is there for the others.
    const frozen = deepFreeze(after);
    await this.#pending.during(
      frozen,
      this.#writer.write(() => this.replaceNow(before, frozen), { basis, committed }),
    );
  }

  /** Part of a transaction: like `replace`. */
  replaceNow(before: Function, after: Function): void {
    if (!this.#isNow(before)) throw new StaleError();
    this.replacing(before, after)();
    this.#leave(after);
  }

  /** Like `inserting` for a change of a function that is known to be as `before`. */
  replacing(before: Function, after: Function): () => void {
    const update = this.#updateOf(before, after);
    const addVersion = after.version === before.version ? undefined : this.#versions.adding(after);
    return () => {
      this.#store(after, update, before);
      if (addVersion !== undefined) addVersion();
      else if (after.image_id !== before.image_id) this.#versions.completeNow(after);
    };
  }

  renameImage(renamed: RenamedImage): Promise<Function[]> {
    const work = () => {
      this.#left.records.clear();
      const functions = this.#renameImage.all({ ...renamed });
      return new Set([...functions.map(({ id }) => id), ...this.#versions.renameImageNow(renamed)]);
    };
    const written = this.#writer.write(work, { committed: () => this.refresh() });
    return written.then((ids) => [...ids].map((id) => this.get(id)).filter((fn) => fn !== undefined));
  }

  /** Part of a transaction: deletes a function to which no route leads. */
  deleteNow(id: string): void {
    this.#left.records.clear();
    this.#delete.run({ id });
  }

  /** Forgets what is cached, after several have changed together. */
  refresh(): void {
    this.#known.clear();
    for (const run of this.#listeners) run();
  }

  async delete(id: string, { cascade }: { readonly cascade: boolean }): Promise<Function | undefined> {
    const work = () => {
      const callers = this.#callers.all({ id }).map(functionOf);
      if (!cascade) this.#checkUnused(id, callers);
      const before = this.get(id);
      this.#deleteRoutes.run({ id });
      this.#forgetFollower.run({ id });
      this.deleteNow(id);
      return { before, callers };
    };
    const { before } = await this.#writer.write(work, {
      committed: ({ before, callers }) => {
        this.#versions.routesChanged();
        for (const changed of before === undefined ? [] : [before, ...callers]) this.#forget(changed);
      },
    });
    return before;
  }

  #checkUnused(id: string, callers: readonly Function[]): void {
    const routes = this.#countRoutes.get({ id })?.count ?? 0;
    const them = routes === 1 ? "1 route leads" : `${routes} routes lead`;
    const problem =
      routes > 0
        ? `${them} to it; delete routes first, or use ?cascade=true`
        : callers.length > 0
          ? `${followedBy(callers)}; change that first, or use ?cascade=true`
          : undefined;
    if (problem !== undefined) throw new AppError("conflict", `Cannot delete function "${id}": ${problem}`);
  }

  #forget({ id, name }: Function): void {
    this.#known.delete(id);
    if (name !== null) this.#known.delete(name);
    for (const run of this.#listeners) run();
  }

  #remember(record: Function): void {
    this.#known.set(record.id, record);
    if (record.name !== null) this.#known.set(record.name, record);
  }

  /** Part of a transaction: returns whether a record is the one in the database. */
  #isNow(record: Function): boolean {
    const { epoch, records } = this.#left;
    const left = epoch === this.#database.epoch ? records.get(record.id) : undefined;
    return left === record || Bun.deepEquals(left ?? this.get(record.id), record);
  }

  /** Part of a transaction: notes what it has made of a record. */
  #leave(record: Function): void {
    const { epoch } = this.#database;
    if (this.#left.epoch !== epoch) this.#left = { epoch, records: new Map() };
    this.#left.records.set(record.id, record);
  }

  /** Returns what writes the columns that differ. SQLite looks up each value by its name, which takes longest. */
  #updateOf(before: Function, after: Function): () => void {
    const changed = FUNCTION_COLUMNS.filter((column) => after[column] !== before[column]);
    if (changed.length === 0) return () => undefined;
    const isKept = this.#updates.size < UPDATES || this.#updates.has(changed.join());
    const columns = isKept ? changed : FUNCTION_COLUMNS;
    const update = this.#updates.get(columns.join()) ?? this.#prepareUpdate(columns);
    const row = { id: after.id, ...rowOf(after, columns) };
    return () => void update.run(row);
  }

  #prepareUpdate(columns: readonly string[]): Statement<never> {
    const sets = columns.map((column) => `${column} = $${column}`).join();
    const update = this.#database.prepare<never>(`update functions set ${sets} where id = $id`);
    this.#updates.set(columns.join(), update);
    return update;
  }

  #store(record: Function, write: () => unknown, before?: Function): void {
    const { id, name } = record;
    const isNew = name !== null && name !== before?.name;
    // A name that is another one's odd id (they exist in older databases) could never be found.
    if (isNew && name !== id && this.#isId.get({ id: name }) !== undefined) throw nameTaken(name);
    try {
      write();
    } catch (error) {
      throw name !== null && violates(error, "unique") ? nameTaken(name, error) : error;
    }
  }
}

function nameTaken(name: string, cause?: unknown): AppError {
  return new AppError("conflict", `A function named "${name}" exists already: choose another name, or PATCH that one`, {
    cause,
  });
}

/** The most functions that a message names. */
const NAMED = 5;

function followedBy(callers: readonly Function[]): string {
  const names = callers.slice(0, NAMED).map(({ id, name }) => `"${name ?? id}"`);
  const more = callers.length > NAMED ? ` and ${callers.length - NAMED} more` : "";
  const [noun, verb] = callers.length === 1 ? ["function", "names"] : ["functions", "name"];
  return `the ${noun} ${names.join(", ")}${more} ${verb} it as "on_success" or "on_failure"`;
}

/** Returns the record as named parameters. */
export function functionRow(record: Function): Bindings {
  return rowOf(record, FUNCTION_COLUMNS);
}

/** Returns some fields of a record as their columns hold them: booleans as 0 and 1, structures as JSON. */
function rowOf(record: Function, columns: readonly (keyof Function)[]): Bindings {
  const row: Record<string, string | number | null> = {};
  for (const column of columns) {
    const value = record[column];
    row[column] =
      typeof value === "boolean"
        ? Number(value)
        : value !== null && typeof value === "object"
          ? JSON.stringify(value)
          : value;
  }
  return row;
}

function optional(row: FunctionRow | undefined): Function | undefined {
  return row && functionOf(row);
}

function functionOf(row: FunctionRow): Function {
  return deepFreeze({
    ...row,
    environment: fromJson(row.environment),
    entrypoint: fromNullableJson(row.entrypoint),
    command: fromNullableJson(row.command),
    secrets: fromJson(row.secrets),
    volumes: fromJson(row.volumes),
    labels: fromJson(row.labels),
    retry: fromJson(row.retry),
    extra_ports: fromJson(row.extra_ports),
    stream: row.stream === 1,
    buffer_request: row.buffer_request === 1,
    share_network: row.share_network === 1,
    read_only: row.read_only === 1,
    record_bodies: row.record_bodies === 1,
    store_credentials: row.store_credentials === 1,
  });
}
