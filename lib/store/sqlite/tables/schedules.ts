import { AppError } from "../../../domain/errors.ts";
import { Schedule } from "../../../domain/schedules.ts";
import type { ScheduleStore } from "../../configuration.ts";
import { StaleError } from "../../errors.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { Bindings, Database, Statement } from "../database/database.ts";
import { violates } from "../errors.ts";
import { fromJson } from "../database/json.ts";

/** A schedule as its row. */
type ScheduleRow = Omit<Schedule, "body" | "paused"> & { readonly body: string; readonly paused: number };

const COLUMNS: readonly string[] = Object.keys(Schedule.properties);

/** Schedules, the only place of their SQL. */
export class ScheduleTable implements ScheduleStore {
  readonly #writer: ConfigurationWriter;
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #get: Statement<ScheduleRow>;
  readonly #list: Statement<ScheduleRow>;
  readonly #count: Statement<{ count: number }>;
  readonly #followers: ((ids: readonly string[]) => void)[] = [];

  constructor(database: Database, writer: ConfigurationWriter) {
    this.#writer = writer;
    const columns = COLUMNS.join();
    this.#insert = database.prepare(
      `insert into schedules (${columns}) values (${COLUMNS.map((column) => `$${column}`).join()})`,
    );
    this.#update = database.prepare(
      `update schedules set ${COLUMNS.map((column) => `${column} = $${column}`).join()} where id = $id`,
    );
    this.#delete = database.prepare("delete from schedules where id = $id");
    this.#get = database.prepare(`select ${columns} from schedules where id = $id`);
    this.#list = database.prepare(`select ${columns} from schedules order by created_at, rowid`);
    this.#count = database.prepare("select count(*) as count from schedules");
  }

  get(id: string): Schedule | undefined {
    const row = this.#get.get({ id });
    return row && scheduleOf(row);
  }

  list(): Schedule[] {
    return this.#list.all().map(scheduleOf);
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  async insert(schedule: Schedule): Promise<void> {
    await this.#writer.write(() => this.#write(schedule, this.#insert));
  }

  async replace(before: Schedule, after: Schedule): Promise<void> {
    await this.#writer.write(() => this.replaceNow(before, after));
  }

  /** Part of a transaction: like `replace`. */
  replaceNow(before: Schedule, after: Schedule): void {
    if (!Bun.deepEquals(this.get(before.id), before)) throw new StaleError();
    this.#write(after, this.#update);
  }

  delete(id: string): Promise<Schedule | undefined> {
    return this.#writer.write(() => {
      const before = this.get(id);
      this.#delete.run({ id });
      return before;
    });
  }

  follow(run: (ids: readonly string[]) => void): void {
    this.#followers.push(run);
  }

  /** Passes on that another server has added, changed or deleted these schedules. */
  changedElsewhere(ids: readonly string[]): void {
    if (ids.length > 0) for (const run of this.#followers) run(ids);
  }

  #write(schedule: Schedule, statement: Statement<never>): void {
    try {
      statement.run(scheduleRow(schedule));
    } catch (error) {
      if (!violates(error, "foreign key")) throw error;
      const message = `No function ${JSON.stringify(schedule.function_id)}: it was deleted meanwhile`;
      throw new AppError("not_found", message, { cause: error });
    }
  }
}

function scheduleRow(schedule: Schedule): Bindings & ScheduleRow {
  return { ...schedule, body: JSON.stringify(schedule.body ?? null), paused: Number(schedule.paused) };
}

function scheduleOf(row: ScheduleRow): Schedule {
  return { ...row, body: fromJson<unknown>(row.body), paused: row.paused === 1 };
}
