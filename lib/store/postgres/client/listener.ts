import type { SQL } from "bun";

/** The least and the most time before a connection that has ended is made again, in milliseconds; it doubles with each try in vain. */
const PAUSE_MS = { min: 250, max: 16_000 } as const;

/** Called with each notification, and without one when it is listened (again): what came before has been missed. */
type Hear = (payload?: string) => void;

/**
 * Listens to channels on a connection of its own. Bun listens again by itself when that ends, and prints each try in vain to stderr, which
 * has the log in one format: so the connection is given up as a whole then, and another one made here.
 */
export class Listener implements AsyncDisposable {
  readonly #connect: (onClose: () => void) => SQL;
  readonly #channels = new Map<string, Hear>();
  #sql: SQL | undefined;
  #pauseMs: number = PAUSE_MS.min;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** `connect` makes a pool, none of whose connections are used but that which listens; `onClose` is called when that has ended. */
  constructor(connect: (onClose: () => void) => SQL) {
    this.#connect = connect;
  }

  /** Listens to a channel. Rejects if that fails; then it is tried again, too. */
  async listen(channel: string, hear: Hear): Promise<void> {
    this.#channels.set(channel, hear);
    const sql = (this.#sql ??= this.#open());
    await this.#listenOn(sql, channel, hear);
  }

  /** Gives up the connection, which may be dead without a sign, and listens on another one. */
  renew(): void {
    if (this.#channels.size === 0 || this.#isClosed) return;
    void this.#close();
    this.#listenAgain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#close();
  }

  #open(): SQL {
    const sql: SQL = this.#connect(() => this.#lost(sql));
    return sql;
  }

  async #listenOn(sql: SQL, channel: string, hear: Hear): Promise<void> {
    try {
      await sql.listen(channel, hear, () => hear());
      this.#pauseMs = PAUSE_MS.min;
    } catch (error) {
      this.#lost(sql);
      throw error;
    }
  }

  #lost(sql: SQL): void {
    if (this.#sql !== sql || this.#isClosed) return;
    void this.#close();
    this.#timer = setTimeout(() => this.#listenAgain(), this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MS.max);
  }

  #listenAgain(): void {
    const sql = (this.#sql = this.#open());
    for (const [channel, hear] of this.#channels) void this.#listenOn(sql, channel, hear).catch(() => undefined);
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    const sql = this.#sql;
    this.#sql = undefined;
    await sql?.close({ timeout: 0 }).catch(() => undefined);
  }
}
