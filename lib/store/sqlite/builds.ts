import {
  type Build,
  BUILD_STATUSES,
  type BuildPage,
  type BuildListQuery,
  hasEnded,
} from "../../domain/builds/builds.ts";
import type { BuildStore } from "../builds.ts";
import type { Database, Statement } from "./database/database.ts";
import { fromJson } from "./database/json.ts";

interface Row {
  readonly number: number;
  readonly record: string;
}

/** The records of builds, the only place of their SQL. */
export class BuildTable implements BuildStore {
  readonly #database: Database;
  readonly #put: Statement<never>;
  readonly #get: Statement<Row>;
  readonly #output: Statement<{ readonly output: string | null }>;
  readonly #list: Statement<Row>;
  readonly #prune: Statement<never>;

  constructor(database: Database) {
    this.#database = database;
    this.#put = database.prepare(
      "insert into builds (id, name, status, record, output) values ($id, $name, $status, $record, $output) " +
        "on conflict (id) do update set status = excluded.status, record = excluded.record, " +
        "output = coalesce(excluded.output, builds.output)",
    );
    this.#get = database.prepare("select number, record from builds where id = $id");
    this.#output = database.prepare("select output from builds where id = $id");
    this.#list = database.prepare(
      `select number, record from builds
       where number < $before and ($name is null or name = $name) and ($status is null or status = $status)
       order by number desc limit $count`,
    );
    this.#prune = database.prepare(
      "delete from builds where number <= coalesce((select number from builds order by number desc limit 1 offset $keep), 0)",
    );
  }

  get(id: string): Build | undefined {
    const row = this.#get.get({ id });
    return row && fromJson<Build>(row.record);
  }

  output(id: string): string | undefined {
    return this.#output.get({ id })?.output ?? undefined;
  }

  list({ name, status, before, limit }: BuildListQuery): BuildPage {
    // One more than asked for, to see whether there is a next page.
    const rows = this.#list.all({ name, status, before, count: limit + 1 });
    const shown = rows.slice(0, limit);
    const last = rows.length > limit ? shown.at(-1) : undefined;
    return {
      builds: shown.map(({ record }) => fromJson<Build>(record)),
      next_cursor: last === undefined ? null : String(last.number),
    };
  }

  unfinished(): Build[] {
    const open = BUILD_STATUSES.filter((status) => !hasEnded({ status }));
    const every = { name: null, before: Number.MAX_SAFE_INTEGER, limit: Number.MAX_SAFE_INTEGER - 1 };
    return open.flatMap((status) => this.list({ ...every, status }).builds);
  }

  async put(build: Build, output?: string): Promise<void> {
    const { id, name, status } = build;
    const row = { id, name, status, record: JSON.stringify(build), output: output ?? null };
    await this.#database.fast(() => this.#put.run(row));
  }

  async prune(keep: number): Promise<void> {
    await this.#database.fast(() => this.#prune.run({ keep }));
  }
}
