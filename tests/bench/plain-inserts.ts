import { Database } from "bun:sqlite";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The least that a queue on SQLite has to do: insert a row with an id and a body, on the disk at each commit. */
export class PlainInserts implements AsyncDisposable {
  readonly #directory: string;
  readonly #database: Database;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#database = new Database(join(directory, "plain.db"), { strict: true });
    this.#database.run("pragma journal_mode = wal; pragma synchronous = full");
    this.#database.run("create table queue (id text primary key not null, body text not null) strict");
  }

  static async open(): Promise<PlainInserts> {
    return new PlainInserts(await mkdtemp(join(tmpdir(), "slipway-plain-")));
  }

  /** Inserts rows for some seconds, `perTransaction` at a time; returns the rows per second. */
  async rate(seconds: number, perTransaction: number): Promise<number> {
    const insert = this.#database.query("insert into queue (id, body) values ($id, $body)");
    const transaction = this.#database.transaction(() => {
      for (let i = 0; i < perTransaction; i++) insert.run({ id: crypto.randomUUID(), body: '{"do": "echo"}' });
    });
    const started = performance.now();
    let done = 0;
    for (; performance.now() - started < seconds * 1000; done += perTransaction) transaction();
    return done / ((performance.now() - started) / 1000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#database.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
