import type { SettingStore } from "../../store/configuration.ts";

/** Logins that were ended before their time and are remembered: some 45 KB. */
const REMEMBERED = 1_000;

/** The form in which they are stored. */
interface Stored {
  /** All that expire up to this time have ended, in milliseconds since the epoch. */
  readonly until: number;
  /** The numbers of the others, each with the time at which it expires. */
  readonly ended: readonly (readonly [nonce: string, expires: number])[];
}

/**
 * The logins that a logout has ended, which outlive a restart of the server. They are few, and forgotten once they have expired. Of
 * more than can be remembered, those that expire first count as one time, up to which all logins have ended: rather one too many
 * than one that is valid again.
 */
export class EndedSessions {
  readonly #store: Pick<SettingStore, "endedLogins" | "setEndedLogins">;
  /** Read when the first login is looked at. */
  #known: { until: number; readonly ended: Map<string, number> } | undefined;

  constructor(store: Pick<SettingStore, "endedLogins" | "setEndedLogins">) {
    this.#store = store;
  }

  has(nonce: string, expires: number): boolean {
    const { until, ended } = this.#read();
    return expires <= until || ended.has(nonce);
  }

  /** Adds one at once; settles when it is on the disk. */
  async add(nonce: string, expires: number, now: number): Promise<void> {
    const known = this.#read();
    known.ended.set(nonce, expires);
    const left = [...known.ended].filter(([, end]) => end > now && end > known.until).toSorted(([, a], [, b]) => b - a);
    known.until = Math.max(known.until, left[REMEMBERED]?.[1] ?? 0);
    known.ended.clear();
    for (const [other, end] of left) if (end > known.until) known.ended.set(other, end);
    const stored: Stored = { until: known.until, ended: [...known.ended] };
    await this.#store.setEndedLogins(JSON.stringify(stored));
  }

  #read() {
    if (this.#known !== undefined) return this.#known;
    const text = this.#store.endedLogins();
    const { until, ended } = text === null ? { until: 0, ended: [] } : (JSON.parse(text) as Stored); // as `add` wrote it
    return (this.#known = { until, ended: new Map(ended) });
  }
}
