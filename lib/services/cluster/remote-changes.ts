import type { Clock } from "../../clock.ts";
import { Alarm, TaskGroup } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { History } from "../../store/history.ts";
import type { Notice, Notices } from "../../store/cluster/notices.ts";
import type { InvocationEvents } from "../calls/events.ts";
import type { RemoteOutput } from "./remote-output.ts";

/** The interval at which followed invocations are looked at, in milliseconds: notices may be missed, and there is none of synchronous calls. */
const LOOK_MS = 1_000;

interface RemoteChangesDeps {
  readonly notices: Pick<Notices, "listen">;
  readonly history: Pick<History, "writtenElsewhere">;
  readonly events: Pick<InvocationEvents, "followed" | "changedElsewhere">;
  readonly output: Pick<RemoteOutput, "look" | "keep">;
  /** Returns whether an attempt at an invocation is made here: what is read of it may be older than its events. */
  readonly isHere: (invocationId: string) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Passes on the states of invocations that other servers run to those who follow them here. */
export class RemoteChanges implements AsyncDisposable {
  readonly #deps: RemoteChangesDeps;
  readonly #alarm: Alarm;
  readonly #looks = new TaskGroup();
  /** The invocations to look at after the look under way. */
  readonly #asked = new Set<string>();
  #isLooking = false;
  #isStopped = false;

  constructor(deps: RemoteChangesDeps) {
    this.#deps = deps;
    this.#alarm = new Alarm(deps.clock, () => {
      const { events, output } = this.#deps;
      output.keep(events.followed);
      this.#look(events.followed);
      this.#alarm.set(LOOK_MS);
    });
  }

  /** Begins to listen to other servers, and to look by itself. */
  start(): void {
    this.#deps.notices.listen((notice) => this.#noticed(notice));
    this.#alarm.set(LOOK_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    this.#alarm[Symbol.dispose]();
    await this.#looks.settled();
  }

  #noticed({ changed, more }: Notice): void {
    const { followed } = this.#deps.events;
    const news = new Set(changed);
    this.#look(more ? followed : followed.filter((id) => news.has(id)));
  }

  #look(ids: readonly string[]): void {
    for (const id of ids) this.#asked.add(id);
    if (this.#asked.size === 0 || this.#isLooking || this.#isStopped) return;
    this.#isLooking = true;
    void this.#looks.add(this.#read());
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    const { history, events, output, isHere, log } = this.#deps;
    const ids = [...this.#asked];
    this.#asked.clear();
    try {
      const followed = new Set(events.followed);
      for (const written of await history.writtenElsewhere(ids)) {
        const { id } = written.invocation;
        if (isHere(id)) continue;
        // First: what comes after the end of an attempt is none of its output.
        if (followed.has(id)) output.look(written);
        events.changedElsewhere(written.invocation);
      }
    } catch (error) {
      // The next look finds what this one has missed.
      log.debug("cannot look for changes of invocations", { reason: messageOf(error) });
    }
    this.#isLooking = false;
    this.#look([]);
  }
}
