import { SQL, type TransactionSQL } from "bun";
import { DeadlineError, isCut, isElsewhere, isRival, mapError } from "../errors.ts";
import { Listener } from "./listener.ts";
import { longTransaction } from "./long-transaction.ts";
import { Primary } from "./primary.ts";
import { Pulse } from "./pulse.ts";
import { CHANNEL_NAME } from "./schema.ts";
import { type Bindings, numbered, plain, valuesOf } from "./statement.ts";

/** Connections: with 4 a server submits a third as much as with 8, and more than 16 gain nothing. */
const CONNECTIONS = 10;
/** The time that a statement or a whole transaction may take; the driver itself would wait without end for a silent server. */
const DEADLINE_MS = 10_000;
/**
 * Limits that the database keeps by itself. If this server vanishes, its locks would stay for hours otherwise; and a slow statement, or one that waits
 * for a lock, ends alone, before the server's own deadline, which takes all connections along.
 */
const SESSION = {
  // Locks are taken before what they protect is read, which only this level sees as it is then: an administrator may have set another one.
  default_transaction_isolation: "read committed",
  tcp_keepalives_idle: "10",
  tcp_keepalives_interval: "5",
  tcp_keepalives_count: "3",
  idle_in_transaction_session_timeout: "15s",
  statement_timeout: "9s",
  lock_timeout: "8s",
} as const;
/** Transactions that are in each other's way are run again so often. */
const TRIES = 5;

/** The time after which a statement that is not answered makes the client ask whether the database answers at all, in milliseconds. */
const PATIENCE_MS = 1_000;

/** The least time between two tries to find a database that can be written, in milliseconds. */
const RENEW_MS = 1_000;

/** Runs statements: on any connection, or all in one transaction. */
export interface Statements {
  /** Returns the rows. `Row` is the type that the caller knows them to have; whole numbers are numbers, bytes are `Uint8Array`. */
  all<Row>(sql: string, bindings?: Bindings): Promise<Row[]>;
  /** Returns the first row. */
  get<Row>(sql: string, bindings?: Bindings): Promise<Row | undefined>;
  /** Returns the number of rows that it changed, without those of cascades. */
  run(sql: string, bindings?: Bindings): Promise<number>;
}

/** Statements of one transaction. */
export interface Transaction extends Statements {
  /** Runs several statements without parameters. */
  script(sql: string): Promise<void>;
}

interface ClientOptions {
  /** The limit of a statement and of a transaction, in milliseconds. */
  readonly deadline_ms?: number;
  readonly connections?: number;
  /** The primary that several clients share. */
  readonly primary?: Primary;
}

/** A statement, or a transaction, that is under way. */
interface Unanswered {
  readonly client: SQL;
  readonly reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout> | undefined;
  /** The rest of its time, in milliseconds. */
  left: number;
}

/** A client of a PostgreSQL database, and with its folder the only place that uses Bun's. All errors are mapped to ours. */
export class Client implements Statements, AsyncDisposable {
  readonly #connect: () => SQL;
  readonly #deadlineMs: number;
  readonly #connectOne: () => SQL;
  readonly #listener: Listener;
  readonly #pulse: Pulse;
  readonly #unanswered = new Set<Unanswered>();
  #sql: SQL;
  #renewedAt = -Infinity;
  readonly #primary: Primary;
  /** The number of connections that were made or cut, and the same at the last check of where they lead. */
  #changes = 1;
  #checkedChanges = 0;
  #checking: Promise<void> | undefined;

  constructor(
    url: string,
    { deadline_ms = DEADLINE_MS, connections = CONNECTIONS, primary = new Primary() }: ClientOptions = {},
  ) {
    this.#primary = primary;
    const whole = withSession(url);
    const connect = (max: number, onconnect?: () => void, onclose = onconnect) =>
      new SQL(whole, { max, bigint: true, connectionTimeout: 5, onconnect, onclose });
    const changed = () => void this.#changes++;
    this.#connect = () => connect(connections, changed);
    this.#connectOne = () => connect(1);
    this.#listener = new Listener((onClose) =>
      connect(1, changed, () => {
        changed();
        onClose();
      }),
    );
    this.#pulse = new Pulse(() => {
      const sql = this.#connectOne();
      return { ask: () => sql.unsafe("select 1"), close: () => sql.close({ timeout: 0 }) };
    });
    this.#deadlineMs = deadline_ms;
    this.#sql = this.#connect();
  }

  /** Runs a statement. It is run again if its connection is cut, or another one was in its way, so it must be right to run it twice. */
  async all<Row>(sql: string, bindings: Bindings = {}): Promise<Row[]> {
    return (await this.#once(sql, bindings)).rows as Row[]; // the caller knows its own statement
  }

  async get<Row>(sql: string, bindings: Bindings = {}): Promise<Row | undefined> {
    return (await this.all<Row>(sql, bindings))[0];
  }

  async run(sql: string, bindings: Bindings = {}): Promise<number> {
    return (await this.#once(sql, bindings)).count;
  }

  /**
   * Runs `work` in one transaction: all of it happens, or nothing. It is run again if another transaction was in its way, or
   * once if the connection is cut before the commit began, or leads to a database that can only be read; so it may have no effects but on the database.
   */
  async transaction<T>(work: (statements: Transaction) => Promise<T>): Promise<T> {
    let cuts = 0;
    for (let tries = 1; ; tries++) {
      let isCommitting = false;
      try {
        return await this.#bounded((client) =>
          client.begin(async (transaction) => {
            const result = await work(statementsOn(transaction));
            isCommitting = true;
            return result;
          }),
        );
      } catch (error) {
        const isUndone = isElsewhere(error) || (!isCommitting && isCut(error));
        const again = isRival(error) ? tries < TRIES : isUndone && cuts++ === 0;
        if (!again) throw mapError(error);
      }
    }
  }

  /**
   * Runs `work` in one transaction that may take hours, and a statement of it, too: as long as the database answers other sessions, and knows that
   * of the transaction. It is not run again.
   */
  async longTransaction<T>(work: (statements: Transaction) => Promise<T>): Promise<T> {
    const client = this.#sql;
    try {
      return await longTransaction(
        { client, connect: this.#connectOne, lookMs: this.#deadlineMs, giveUp: () => this.#giveUp(client) },
        (transaction) => work(statementsOn(transaction)),
      );
    } catch (error) {
      throw mapError(error);
    }
  }

  /** Calls `run` with each notification on a channel of this schema, and without one when it listens (again): what came before has been missed. */
  async listen(channel: string, run: (payload?: string) => void): Promise<void> {
    const found = await this.get<{ name: string }>(`select ${CHANNEL_NAME} as name`, { channel });
    await this.#bounded(() => this.#listener.listen(found?.name ?? channel, run));
  }

  /** Notifies a channel of this schema, at the end of the transaction if it is given one. */
  async notify(channel: string, payload = "", statements: Statements = this): Promise<void> {
    await statements.run(`select pg_notify(${CHANNEL_NAME}, $payload)`, { channel, payload });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const own = [this.#pulse, this.#listener];
    await Promise.all([...own.map((one) => one[Symbol.asyncDispose]()), this.#sql.close({ timeout: 0 })]);
  }

  #reconnect(): void {
    this.#changes++;
    this.#checking = undefined;
    this.#sql = this.#connect();
    this.#listener.renew();
  }

  async #once(sql: string, bindings: Bindings): Promise<Result> {
    let cuts = 0;
    for (let tries = 1; ; tries++) {
      try {
        return await this.#bounded((client) => execute(client, sql, bindings));
      } catch (error) {
        const again = isRival(error) ? tries < TRIES : (isCut(error) || isElsewhere(error)) && cuts++ === 0;
        if (!again) throw mapError(error);
      }
    }
  }

  /** Gives up the client, with all of its connections, if it does not answer in time, or if the database answers nothing at all. */
  async #bounded<T>(run: (client: SQL) => Promise<T>): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const statement: Unanswered = { client: this.#sql, reject, timer: undefined, left: this.#deadlineMs };
    this.#unanswered.add(statement);
    this.#watch(statement);
    try {
      const client = statement.client;
      const isChecked = this.#checkedChanges === this.#changes;
      return await Promise.race([isChecked ? run(client) : this.#check(client).then(() => run(client)), late]);
    } catch (error) {
      if (isElsewhere(error)) this.#renew(statement.client);
      throw error;
    } finally {
      clearTimeout(statement.timer);
      this.#unanswered.delete(statement);
    }
  }

  /** Checks where connections lead; all who wait for it at the same time share the question. */
  #check(client: SQL): Promise<void> {
    if (this.#checking !== undefined) return this.#checking;
    const checking = this.#ask(client).finally(() => {
      if (this.#checking === checking) this.#checking = undefined;
    });
    return (this.#checking = checking);
  }

  async #ask(client: SQL): Promise<void> {
    const changes = this.#changes;
    await this.#primary.check((sql) => client.unsafe(sql));
    this.#checkedChanges = changes;
  }

  #watch(statement: Unanswered): void {
    const ms = Math.min(PATIENCE_MS, statement.left);
    statement.left -= ms;
    statement.timer = setTimeout(() => void this.#look(statement), ms);
  }

  async #look(statement: Unanswered): Promise<void> {
    const { client, left } = statement;
    if (left === 0) {
      statement.reject(new DeadlineError(`The database has not answered within ${this.#deadlineMs} ms`));
      this.#giveUp(client);
    } else if (await this.#pulse.isThere()) {
      if (this.#unanswered.has(statement)) this.#watch(statement);
    } else if (this.#unanswered.has(statement)) {
      // Before they are cut, after which they would be tried again.
      const silent = new DeadlineError("The database does not answer");
      for (const other of this.#unanswered) if (other.client === client) other.reject(silent);
      this.#giveUp(client);
    }
  }

  /** Gives up connections to a database that can only be read: new ones may lead to the one that has taken its place. */
  #renew(client: SQL): void {
    const now = performance.now();
    if (this.#sql !== client || now - this.#renewedAt < RENEW_MS) return;
    this.#renewedAt = now;
    this.#giveUp(client);
  }

  #giveUp(client: SQL): void {
    if (this.#sql === client) this.#reconnect();
    void client.close({ timeout: 0 }).catch(() => undefined);
  }
}

/** Returns a URL with the settings of a session; of others in it, PostgreSQL refuses those that it does not know. */
function withSession(url: string): string {
  const whole = new URL(url);
  for (const [name, value] of Object.entries(SESSION)) whole.searchParams.set(name, value);
  if (!whole.searchParams.has("application_name")) whole.searchParams.set("application_name", "slipway");
  return whole.href;
}

interface Result {
  readonly rows: readonly Record<string, unknown>[];
  readonly count: number;
}

function statementsOn(transaction: TransactionSQL): Transaction {
  const run = (sql: string, bindings: Bindings = {}) => execute(transaction, sql, bindings);
  const all = async <Row>(sql: string, bindings?: Bindings): Promise<Row[]> => (await run(sql, bindings)).rows as Row[]; // the caller knows its own statement
  return {
    all,
    get: async <Row>(sql: string, bindings?: Bindings) => (await all<Row>(sql, bindings))[0],
    run: async (sql, bindings) => (await run(sql, bindings)).count,
    script: async (sql) => void (await transaction.unsafe(sql)),
  };
}

async function execute(client: SQL, sql: string, bindings: Bindings): Promise<Result> {
  const statement = numbered(sql);
  const found = await client.unsafe<Record<string, unknown>[]>(statement.text, valuesOf(statement, bindings));
  // The driver adds the count to the array, which its types do not say.
  const { count } = found as unknown as { readonly count: number | null };
  return { rows: found.map(plain), count: count ?? 0 };
}
