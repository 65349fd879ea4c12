import type { Clock } from "../../clock.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import { type Notice, NOTICE_KINDS, type NoticeKind, type Notices } from "../cluster/notices.ts";
import type { Client } from "./client/client.ts";

const CHANNEL = "slipway_notices";
/** The time between two notices, in milliseconds: each takes a lock that all other notifying commits wait for. */
const PAUSE_MS = 50;
/** The most characters of a notice: PostgreSQL takes 8,000 bytes. */
const LONGEST = 7_500;

interface NoticesDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly log: Logger;
  readonly server_id: string;
}

/** Everything that one notice may lack. */
const MISSED: Notice = { changed: [], cancel: [], freed: [], wanted: [], more: true };

/** Notices by PostgreSQL's NOTIFY, each in a transaction of its own. */
export class PostgresNotices implements Notices, Disposable {
  readonly #deps: NoticesDeps;
  readonly #listeners: ((notice: Notice) => void)[] = [];
  readonly #waiting: Record<NoticeKind, Set<string>> = {
    changed: new Set(),
    cancel: new Set(),
    freed: new Set(),
    wanted: new Set(),
  };
  #cancel: (() => void) | undefined;
  #sentAt = -Infinity;

  constructor(deps: NoticesDeps) {
    this.#deps = deps;
  }

  /** Begins to listen. Rejects if the database gives no notifications. */
  async begin(): Promise<void> {
    await this.#deps.client.listen(CHANNEL, (payload) => this.#received(payload));
  }

  send(kind: NoticeKind, id: string): void {
    this.#waiting[kind].add(id);
    const { clock } = this.#deps;
    this.#cancel ??= clock.after(Math.max(1, this.#sentAt + PAUSE_MS - clock.monotonic()), () => void this.#flush());
  }

  listen(run: (notice: Notice) => void): void {
    this.#listeners.push(run);
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
  }

  async #flush(): Promise<void> {
    const { client, clock, log, server_id: from } = this.#deps;
    this.#sentAt = clock.monotonic();
    this.#cancel = undefined;
    const ids = Object.fromEntries(NOTICE_KINDS.map((kind) => [kind, [...this.#waiting[kind]]]));
    for (const kind of NOTICE_KINDS) this.#waiting[kind].clear();
    const whole = JSON.stringify({ from, ...ids });
    const payload = Buffer.byteLength(whole) > LONGEST ? JSON.stringify({ from, more: true }) : whole;
    try {
      await client.notify(CHANNEL, payload);
    } catch (error) {
      // The others find out by looking.
      log.debug("the other servers were not told of changes", { reason: messageOf(error) });
    }
  }

  /** Takes a payload of any server, or nothing if it listens (again): what came before has been missed. */
  #received(payload: string | undefined): void {
    const notice = payload === undefined ? MISSED : this.#noticeOf(payload);
    if (notice !== undefined) for (const listener of this.#listeners) listener(notice);
  }

  #noticeOf(payload: string): Notice | undefined {
    // Another server's `#flush` made it; one of another version may know other kinds.
    const { from, ...given } = JSON.parse(payload) as Partial<Notice> & { readonly from: string };
    return from === this.#deps.server_id ? undefined : { ...MISSED, more: false, ...given };
  }
}
