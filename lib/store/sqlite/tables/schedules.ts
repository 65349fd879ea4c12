import { AppError } from "../../../domain/errors.ts";
import { Schedule } from "../../../domain/schedules.ts";
import type { Bindings, Database, Statement } from "../database/database.ts";
import { violates } from "../errors.ts";
import { fromJson } from "../database/json.ts";

/** A schedule as its row. */
type ScheduleRow = Omit<Schedule, "body" | "paused"> & { readonly body: string; readonly paused: number };

const COLUMNS: readonly string[] = Object.keys(Schedule.properties);

/** Schedules, the only place of their SQL. Changes are on the disk when the promise of a method is fulfilled. */
export class ScheduleStore {
  readonly #database: Database;
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #get: Statement<ScheduleRow>;
  readonly #list: Statement<ScheduleRow>;
  readonly #count: Statement<{ count: number }>;

  constructor(database: Database) {
    this.#database = database;
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

  /** All schedules, oldest first. */
  list(): Schedule[] {
    return this.#list.all().map(scheduleOf);
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  /** Throws `not_found` where the function is gone. */
  async insert(schedule: Schedule): Promise<void> {
    await this.#database.durably(() => this.#write(schedule, this.#insert));
  }

  /** Replaces a schedule by what `change` makes of it as it is then; undefined where there is none. */
  update(id: string, change: (current: Schedule) => Schedule): Promise<Schedule | undefined> {
    return this.#database.durably(() => {
      const before = this.get(id);
      if (before === undefined) return undefined;
      const after = change(before);
      this.#write(after, this.#update);
      return after;
    });
  }

  /** Tells what it was; undefined where there was none. */
  delete(id: string): Promise<Schedule | undefined> {
    return this.#database.durably(() => {
      const before = this.get(id);
      this.#delete.run({ id });
      return before;
    });
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
