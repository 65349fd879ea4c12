import type { Clock } from "../../clock.ts";
import { TIMEOUT_SLACK_MS } from "../../domain/limits.ts";
import type { Logger } from "../../log.ts";
import { StoreError } from "../errors.ts";
import type { Client } from "./client/client.ts";
import { SCHEMA } from "./client/schema.ts";
import { awayProblem } from "./errors.ts";

/** The time between two looks at the lock and at the database's clock. */
const BEAT_MS = 2_000;
/** The time for which a start waits for the lock: the connection of a server that was killed may outlive it for a moment. */
const WAIT_MS = 10_000;
const RETRY_MS = 250;
/** The most that the clock may be behind the database's: half of what a lease has to spare, in milliseconds. */
const BEHIND_MS = TIMEOUT_SLACK_MS / 2;

/** Takes the lock of a server's id, unless this connection has it, and says what the database's clock shows. */
const BEAT = `
  select case
      when exists (select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and granted) then 1
      when pg_try_advisory_lock(hashtextextended('slipway ' || $id, ${SCHEMA})) then 1
      else 0
    end as held, (extract(epoch from clock_timestamp()) * 1000)::double precision as now`;

/**
 * The presence of a server in a shared database: a lock on its id, which a connection of its own holds for as long as the process
 * lives, and the database's clock, by which all leases go.
 */
export class Presence implements Disposable {
  readonly #client: Client;
  readonly #id: string;
  readonly #log: Logger;
  readonly #base: Clock;
  /** The database's time of day at the monotonic time 0; this machine's until it is known. */
  #shift: number;
  #isHeld = false;
  #isClosed = false;
  /** The monotonic time since which the database has not answered; undefined while it does. */
  #awaySince: number | undefined;
  #cancel: () => void = () => undefined;

  /** The client is for the presence alone, and has one connection. */
  constructor(client: Client, { server_id, log, clock }: { server_id: string; log: Logger; clock: Clock }) {
    this.#client = client;
    this.#id = server_id;
    this.#log = log;
    this.#base = clock;
    this.#shift = clock.now() - clock.monotonic();
  }

  /** False if another server has the id now. While the database is away it stays as it was. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /**
   * The database's clock, to within the time of half a round trip. Between two looks it goes on with the monotonic one: leases must not
   * move if this machine's time of day is set.
   */
  get clock(): Clock {
    const base = this.#base;
    return {
      now: () => Math.round(base.monotonic() + this.#shift),
      monotonic: () => base.monotonic(),
      after: (ms, run) => base.after(ms, run),
      uuid: () => base.uuid(),
      invocationId: () => base.invocationId(),
      random: () => base.random(),
    };
  }

  /** Takes the lock. Throws a `StoreError` if another server with this id has it. */
  async begin(): Promise<void> {
    const until = this.#base.monotonic() + WAIT_MS;
    for (await this.#look(); !this.#isHeld; await this.#look()) {
      if (this.#base.monotonic() > until) {
        throw new StoreError(
          `Another server with the SERVER_ID ${JSON.stringify(this.#id)} uses the database of DATABASE_URL: give each server its own`,
        );
      }
      await new Promise<void>((resolve) => void this.#base.after(RETRY_MS, resolve));
    }
    this.#beat();
  }

  /**
   * Takes what the database's clock showed a moment ago. Returns false if ours was behind it: this machine was frozen, and what it has
   * taken for the time is past.
   */
  isTime(now: number): boolean {
    const behind = now - this.clock.now();
    if (behind <= BEHIND_MS) return true;
    this.#shift += behind;
    this.#log.warn("the clock was behind the database's", { ms: Math.round(behind) });
    return false;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#cancel();
  }

  #beat(): void {
    this.#cancel = this.#base.after(BEAT_MS, () => {
      void this.#lookAgain().then(() => {
        if (!this.#isClosed) this.#beat();
      });
    });
  }

  async #lookAgain(): Promise<void> {
    const before = this.#isHeld;
    try {
      await this.#look();
      this.#noteBack();
    } catch (error) {
      this.#noteAway(error);
    }
    if (before && !this.#isHeld)
      this.#log.error("another server has taken the SERVER_ID, no work is begun", { id: this.#id });
  }

  /** Logs the first look that fails, not each: it may stay so for hours. */
  #noteAway(error: unknown): void {
    if (this.#isClosed || this.#awaySince !== undefined) return;
    this.#awaySince = this.#base.monotonic();
    this.#log.warn("the database is away: calls go on, all else waits or gets 503", { problem: awayProblem(error) });
  }

  #noteBack(): void {
    if (this.#awaySince === undefined) return;
    this.#log.info("the database is back", { after_ms: Math.round(this.#base.monotonic() - this.#awaySince) });
    this.#awaySince = undefined;
  }

  async #look(): Promise<void> {
    const asked = this.#base.monotonic();
    const found = await this.#client.get<{ held: number; now: number }>(BEAT, { id: this.#id });
    const answered = this.#base.monotonic();
    if (found === undefined) return;
    this.#isHeld = found.held === 1;
    const shift = found.now - (asked + answered) / 2;
    // A difference that a slow answer could explain counts as none.
    if (Math.abs(shift - this.#shift) > (answered - asked) / 2 + 1) this.#shift = shift;
  }
}
