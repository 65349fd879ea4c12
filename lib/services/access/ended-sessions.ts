import type { SettingStore } from "../../store/configuration.ts";

/** Logins of one key that were ended before their time and are remembered: some 45 KB. */
const REMEMBERED = 1_000;
/** Stands for the keys of logins that an earlier version has stored. */
const UNKNOWN_KEY = "";

/** A login, as far as its end is concerned. */
export interface EndedLogin {
  readonly key_id: string;
  /** A number that no other has. */
  readonly nonce: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

/** The logins of a key that have ended. */
interface EndedOfKey {
  /** All that expire up to this time have ended, in milliseconds since the epoch. */
  readonly until: number;
  /** The numbers of the others, each with the time at which it expires. */
  readonly ended: readonly (readonly [nonce: string, expires: number])[];
}

/** The form in which they are stored, by the ids of their keys; earlier versions did not know the keys. */
type Stored = { readonly keys: Readonly<Record<string, EndedOfKey>> } | EndedOfKey;

/**
 * The logins that a logout has ended, which outlive a restart of the server, on all servers that share a database. They are few, and
 * forgotten once they have expired. Of more than can be remembered of a key, those that expire first count as one time, up to which all
 * logins of that key have ended: rather one too many than one that is valid again.
 */
export class EndedSessions {
  readonly #store: Pick<SettingStore, "endedLogins" | "changeEndedLogins">;
  /** The stored text, and its meaning. */
  #known: { readonly text: string | null; readonly keys: ReadonlyMap<string, KnownOfKey> } = {
    text: null,
    keys: new Map(),
  };
  /** Those that are not on the disk yet, each with the time at which it expires. */
  readonly #ending = new Map<string, number>();

  constructor(store: Pick<SettingStore, "endedLogins" | "changeEndedLogins">) {
    this.#store = store;
  }

  has({ key_id, nonce, expires }: EndedLogin): boolean {
    if (this.#ending.has(nonce)) return true;
    const keys = this.#read();
    return [key_id, UNKNOWN_KEY].some((id) => {
      const of = keys.get(id);
      return of !== undefined && (expires <= of.until || of.nonces.has(nonce));
    });
  }

  /** Adds one at once; settles when it is on the disk. */
  async add(login: EndedLogin, now: number): Promise<void> {
    for (const [nonce, expires] of this.#ending) if (expires <= now) this.#ending.delete(nonce);
    this.#ending.set(login.nonce, login.expires);
    // Other servers may have added some.
    await this.#store.changeEndedLogins((before) => withLogin(before, login, now));
    this.#ending.delete(login.nonce);
  }

  #read(): ReadonlyMap<string, KnownOfKey> {
    const text = this.#store.endedLogins();
    if (text === this.#known.text) return this.#known.keys;
    const known = Object.entries(read(text)).map(([id, { until, ended }]): [string, KnownOfKey] => [
      id,
      { until, nonces: new Set(ended.map(([nonce]) => nonce)) },
    ]);
    this.#known = { text, keys: new Map(known) };
    return this.#known.keys;
  }
}

interface KnownOfKey {
  readonly until: number;
  readonly nonces: ReadonlySet<string>;
}

function read(text: string | null): Readonly<Record<string, EndedOfKey>> {
  if (text === null) return {};
  const stored = JSON.parse(text) as Stored; // as `withLogin` wrote it, here or in an earlier version
  return "keys" in stored ? stored.keys : { [UNKNOWN_KEY]: stored };
}

/** Returns what is to be stored once another login has ended, without those that have expired. */
function withLogin(text: string | null, { key_id, nonce, expires }: EndedLogin, now: number): string {
  const before = read(text);
  const own = before[key_id] ?? { until: 0, ended: [] };
  const ended = [...own.ended.filter(([other]) => other !== nonce), [nonce, expires] as const];
  const keys = Object.entries({ ...before, [key_id]: { ...own, ended } })
    .map(([id, of]) => [id, remembered(of, now)] as const)
    .filter(([, of]) => of.until > now || of.ended.length > 0);
  return JSON.stringify({ keys: Object.fromEntries(keys) } satisfies Stored);
}

function remembered({ until, ended }: EndedOfKey, now: number): EndedOfKey {
  const left = ended.filter(([, end]) => end > now && end > until).toSorted(([, a], [, b]) => b - a);
  const upTo = Math.max(until, left[REMEMBERED]?.[1] ?? 0);
  return { until: upTo, ended: left.filter(([, end]) => end > upTo) };
}
