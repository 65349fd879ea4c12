import type { Clock } from "../../clock.ts";
import type { Caller } from "../../domain/keys.ts";
import type { EndedSessions } from "./ended-sessions.ts";
import type { KeyService } from "./keys.ts";
import { hashToken } from "./tokens.ts";

/** The time that a login lasts, in milliseconds: a working day. */
export const SESSION_MS = 12 * 3_600_000;
const NONCE_BYTES = 16;
/** The longest session that is looked at. */
const LENGTH = 256;

interface SessionDeps {
  readonly keys: Pick<KeyService, "identifyHolder">;
  readonly clock: Pick<Clock, "now">;
  readonly ended: EndedSessions;
  /** Signs sessions. */
  readonly secret: Uint8Array;
}

/** The parts of a session: whose it is, until when, and a number that no other has. */
interface Parts {
  readonly key_id: string;
  readonly expires: number;
  readonly nonce: string;
  readonly signature: string;
}

/**
 * Logins with a key. A session is a text that names the key and is signed together with the hash of the key's token, so
 * nothing is stored, it outlives a restart, and it ends with the key: when that is revoked, expires, or is replaced. Only the end
 * by a logout is stored.
 */
export class SessionService {
  readonly #deps: SessionDeps;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  /** Opens a session for the caller of a token, which was identified. */
  open({ key_id }: Caller, token: string): string {
    const nonce = crypto.getRandomValues(Buffer.alloc(NONCE_BYTES)).toString("base64url");
    const head = { key_id: key_id ?? "", expires: this.#deps.clock.now() + SESSION_MS, nonce };
    return written({ ...head, signature: this.#sign(head, hashToken(token)) });
  }

  /** Returns the caller of a session; undefined unless it is valid now. */
  identify(session: string): Caller | undefined {
    const parts = read(session);
    const { clock, ended } = this.#deps;
    if (parts === undefined || parts.expires <= clock.now() || ended.has(parts)) return undefined;
    const found = this.#deps.keys.identifyHolder(parts.key_id, (hash) =>
      sameText(parts.signature, this.#sign(parts, hash)),
    );
    return found !== undefined && "caller" in found ? found.caller : undefined;
  }

  /** Ends a session at once, and settles when that is on the disk. Ignores one that is not valid. */
  async end(session: string): Promise<void> {
    const parts = read(session);
    if (parts === undefined || this.identify(session) === undefined) return;
    await this.#deps.ended.add(parts, this.#deps.clock.now());
  }

  #sign({ key_id, expires, nonce }: Omit<Parts, "signature">, hash: string): string {
    const hasher = new Bun.CryptoHasher("sha256", this.#deps.secret);
    return hasher.update(`${key_id}.${expires}.${nonce}.${hash}`).digest("base64url");
  }
}

function written({ key_id, expires, nonce, signature }: Parts): string {
  return `${key_id}.${expires}.${nonce}.${signature}`;
}

function read(session: string): Parts | undefined {
  if (session.length > LENGTH) return undefined;
  const [, key_id, expires, nonce, signature] = /^([\w-]+)\.(\d{1,16})\.([\w-]{22})\.([\w-]{43})$/.exec(session) ?? [];
  if (key_id === undefined || expires === undefined || nonce === undefined || signature === undefined) return undefined;
  return { key_id, expires: Number(expires), nonce, signature };
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && crypto.timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
