import type { Clock } from "../../clock.ts";
import { type AuditEntry, auditedPath, type AuditPage, type AuditQuery } from "../../domain/audit.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import { AUDIT } from "../../domain/limits.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { AuditLog } from "../../store/audit.ts";

/** The longest time from an entry to its write, in milliseconds: the changes of that time share a transaction. */
const FLUSH_MS = 100;
/** Entries that wait while the database cannot take them; those beyond are in the server's log only. */
const WAITING = 1_000;
const PRUNE_MS = 60_000;
const PRUNE_PAUSE_MS = 50;
/** Entries removed at once: a millisecond or two of the event loop. */
const PRUNE_BATCH = 500;
/** Refused keys that are recorded at once, and the time until there is room for another one, in milliseconds. */
const REFUSED_BURST = 100;
const REFUSED_REFILL_MS = 10_000;

/** A request to record, without its time. */
export type Audited = Omit<AuditEntry, "id" | "at" | "event">;

interface AuditDeps {
  readonly store: AuditLog;
  readonly clock: Clock;
  readonly log: Logger;
  readonly max_age_ms: number;
}

/**
 * Records who changed what, and whose key was refused: in the server's log at once, and in the database soon after, off the
 * path of the request. Anyone can send wrong keys, so only so many of them are recorded one by one; the rest are counted.
 */
export class AuditService implements AsyncDisposable {
  readonly #deps: AuditDeps;
  #pending: Omit<AuditEntry, "id">[] = [];
  readonly #nextFlush: Alarm;
  readonly #nextPrune: Alarm;
  #isFlushDue = false;
  #isOver = false;
  /** Refused keys that may still be recorded, as of a time. */
  #room = { left: REFUSED_BURST, at: 0 };
  #unrecorded = 0;

  constructor(deps: AuditDeps) {
    this.#deps = deps;
    this.#nextFlush = new Alarm(deps.clock, () => void this.flush());
    this.#nextPrune = new Alarm(deps.clock, () => void this.#prune());
  }

  /** Begins to remove old entries. */
  start(): void {
    this.#nextPrune.set(PRUNE_MS);
  }

  /** Records a request that was let in and that is more than reading or calling. */
  changed(request: Audited): void {
    this.#record("change", request);
  }

  /** Records a request whose key was refused. */
  refused(request: Audited): void {
    if (!this.#takeRoom()) {
      this.#unrecorded += 1;
      return;
    }
    this.#tellUnrecorded();
    this.#record("refused_key", request);
  }

  async list(query: AuditQuery): Promise<AuditPage> {
    await this.flush();
    return this.#deps.store.list(query);
  }

  /** Writes what waits. Never rejects: while the database cannot take entries, they wait. */
  async flush(): Promise<void> {
    this.#nextFlush.clear();
    this.#isFlushDue = false;
    const entries = this.#pending;
    if (entries.length === 0) return;
    this.#pending = [];
    try {
      await this.#deps.store.append(entries);
    } catch (error) {
      this.#pending = [...entries, ...this.#pending].slice(0, WAITING);
      this.#deps.log.warn("audit entries are not written, will try again", { problem: messageOf(error) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#nextPrune[Symbol.dispose]();
    this.#tellUnrecorded();
    await this.flush();
    this.#nextFlush[Symbol.dispose]();
  }

  #record(event: AuditEntry["event"], { path, ...request }: Audited): void {
    const { clock, log } = this.#deps;
    const entry = { ...request, path: auditedPath(path) };
    log.info(event === "change" ? "change" : "key refused", entry);
    if (this.#pending.length < WAITING) this.#pending.push({ at: timestamp(clock.now()), event, ...entry });
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.#nextFlush.set(FLUSH_MS);
  }

  #takeRoom(): boolean {
    const now = this.#deps.clock.monotonic();
    const left = Math.min(REFUSED_BURST, this.#room.left + (now - this.#room.at) / REFUSED_REFILL_MS);
    const isRoom = left >= 1;
    this.#room = { left: isRoom ? left - 1 : left, at: now };
    return isRoom;
  }

  #tellUnrecorded(): void {
    if (this.#unrecorded === 0) return;
    this.#deps.log.warn("more keys were refused than are recorded one by one", { count: this.#unrecorded });
    this.#unrecorded = 0;
  }

  async #prune(): Promise<void> {
    const { store, clock, max_age_ms, log } = this.#deps;
    this.#tellUnrecorded();
    const retention = { before: clock.now() - max_age_ms, keep: AUDIT, batch: PRUNE_BATCH };
    const removed = await store.prune(retention).catch((error: unknown) => {
      log.warn("old audit entries are not removed, will try again", { problem: messageOf(error) });
      return 0;
    });
    if (!this.#isOver) this.#nextPrune.set(removed > 0 ? PRUNE_PAUSE_MS : PRUNE_MS);
  }
}
