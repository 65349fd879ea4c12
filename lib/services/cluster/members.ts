import type { Clock } from "../../clock.ts";
import { messageOf } from "../../domain/errors.ts";
import type { SystemState } from "../../domain/system/system.ts";
import type { Logger } from "../../log.ts";
import type { Member, MemberStore } from "../../store/members.ts";
import { Sightings } from "./sightings.ts";

/** The time between two reports, in milliseconds. */
const BEAT_MS = 2_000;
/** The time after its last report from which a server counts as dead, in milliseconds. */
const DEAD_MS = 10_000;

interface MembersDeps {
  readonly store: MemberStore;
  readonly url: string | null;
  readonly version: string;
  /** Returns the calls that ready instances could serve at once, by function and version. */
  readonly readyCalls: () => Readonly<Record<string, number>>;
  /** Returns the id of this server's engine; null while it is not known. */
  readonly engine: () => string | null;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The servers of a database: reports this one to the others every 2 s, and knows what they have reported. Only routing, the
 * shares of limits and the refusal of images that one engine has depend on it. While the database is away, all stays as it was: a
 * limit must not double then.
 */
export class Members implements AsyncDisposable {
  readonly #deps: MembersDeps;
  /** A random name of this process. */
  readonly epoch: string;
  readonly #sightings: Sightings;
  #others: readonly Member[] = [];
  #cancel: () => void = () => undefined;
  #beat: Promise<void> = Promise.resolve();
  #hasLeft = false;
  #takesCalls = true;

  constructor(deps: MembersDeps) {
    this.#deps = deps;
    this.epoch = deps.clock.uuid();
    this.#sightings = new Sightings(deps);
  }

  /** The id of this server. */
  get id(): string {
    return this.#deps.store.id;
  }

  /** The other servers that live, as far as is known. */
  get others(): readonly Member[] {
    return this.#others;
  }

  /** The other servers that live and whose engine is known to be another one than this server's. */
  get elsewhere(): readonly Member[] {
    const own = this.#deps.engine();
    return own === null ? [] : this.#others.filter(({ engine }) => engine !== null && engine !== own);
  }

  /** True as long as this server takes calls that the others pass on: until it is about to stop. */
  get takesCalls(): boolean {
    return this.#takesCalls;
  }

  /** The number of servers that live, this one among them. */
  get living(): number {
    return this.#others.length + 1;
  }

  /** Returns this server's share of so many things: those of all servers that live are together just as many. */
  shareOf(things: number): number {
    const { living } = this;
    const before = this.#others.filter(({ id }) => id < this.id).length;
    return Math.floor(things / living) + (before < things % living ? 1 : 0);
  }

  /** Reports this server for the first time, and begins to do so again and again. */
  async begin(): Promise<void> {
    await (this.#beat = this.#report());
    this.#schedule();
  }

  /** Lists all servers of the last day by id, this one among them. Throws `database_unavailable`. */
  async list(): Promise<NonNullable<SystemState["servers"]>> {
    const known = await this.#exchange();
    const { url, version, engine } = this.#deps;
    const own = {
      id: this.id,
      epoch: this.epoch,
      url,
      version,
      age_ms: 0,
      ready_calls: this.#readyCalls(),
      engine: engine(),
    };
    return [own, ...known]
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .map((member) => ({
        id: member.id,
        url: member.url,
        version: member.version,
        engine: member.engine,
        heartbeat_age_ms: member.age_ms,
        living: member.age_ms < DEAD_MS,
        ready: Object.values(member.ready_calls).reduce((sum, calls) => sum + calls, 0),
      }));
  }

  /** Takes no more calls of the others, who learn of it with their next report: it is about to stop. */
  takeNoCalls(): void {
    this.#takesCalls = false;
    this.#beat = this.#beat.then(() => this.#report());
  }

  /** Takes this server out of the list: its limits are the others' again, and they pass no calls on to it. */
  async leave(): Promise<void> {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#cancel();
    await this.#beat;
    try {
      await this.#deps.store.leave(this.epoch);
    } catch (error) {
      this.#deps.log.debug("the other servers will learn by themselves that this one has left", {
        reason: messageOf(error),
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }

  #schedule(): void {
    if (this.#hasLeft) return;
    this.#cancel = this.#deps.clock.after(BEAT_MS, () => {
      this.#beat = this.#report();
      void this.#beat.then(() => this.#schedule());
    });
  }

  /** Never rejects: the presence of the server says that the database does not answer. */
  async #report(): Promise<void> {
    try {
      await this.#exchange();
    } catch (error) {
      this.#deps.log.debug("cannot report to the other servers", { reason: messageOf(error) });
    }
  }

  #readyCalls(): Readonly<Record<string, number>> {
    return this.#takesCalls ? this.#deps.readyCalls() : {};
  }

  async #exchange(): Promise<Member[]> {
    const { store, url, version, engine } = this.#deps;
    const known = await store.report({
      epoch: this.epoch,
      url,
      version,
      ready_calls: this.#readyCalls(),
      engine: engine(),
    });
    this.#others = known.filter(({ age_ms }) => age_ms < DEAD_MS);
    this.#sightings.note(known.map(({ id, age_ms }) => ({ id, living: age_ms < DEAD_MS })));
    return known;
  }
}
