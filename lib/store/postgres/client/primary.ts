import { OtherPrimaryError, sqlStateOf } from "../errors.ts";

/**
 * The number of the primaries that a database has had, as eight hexadecimal digits: a standby that takes over, or a backup that is
 * restored, raises it. Some services lack these functions.
 */
export const TIMELINE = "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";

/** PostgreSQL's own number of a cluster of databases, and that of its primaries. */
const IDENTITY = `select (select system_identifier::text from pg_control_system()) as system, ${TIMELINE} as timeline`;

/** The row of `IDENTITY`. */
interface Identity {
  readonly system: string;
  /** Eight hexadecimal digits. */
  readonly timeline: string;
}

/** Runs a statement on the connections that are checked, and returns its rows. */
type Ask = (sql: string) => Promise<readonly Identity[]>;

/**
 * The primary that a server writes to. One that another has replaced lacks what was written since: if an address leads back to it, or to
 * another cluster, it is refused, as what one server writes there would be unknown to the others.
 */
export class Primary {
  #known: Identity | undefined;

  /** Asks where connections lead. Throws an `OtherPrimaryError` if that is not the known primary or one that came after it. */
  async check(ask: Ask): Promise<void> {
    const found = await identityOf(ask);
    if (found === undefined) return;
    const known = this.#known;
    if (known !== undefined && known.system !== found.system) {
      throw new OtherPrimaryError(`it belongs to the cluster ${found.system}, and the one before to ${known.system}`);
    }
    if (known !== undefined && known.timeline > found.timeline) {
      throw new OtherPrimaryError(
        `another one has replaced it: its timeline is ${Number.parseInt(found.timeline, 16)}, after ${Number.parseInt(known.timeline, 16)}`,
      );
    }
    this.#known = found;
  }
}

/** Returns undefined if PostgreSQL does not say, as with some services. */
async function identityOf(ask: Ask): Promise<Identity | undefined> {
  try {
    return (await ask(IDENTITY))[0];
  } catch (error) {
    // 42: no such function, or no right to it; 0A: not supported.
    if (["42", "0A"].some((start) => sqlStateOf(error).startsWith(start))) return undefined;
    throw error;
  }
}
