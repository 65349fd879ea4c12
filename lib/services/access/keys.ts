import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import {
  administrator,
  type Caller,
  checkFunctionLimit,
  type CreateKey,
  type Key,
  type NewKey,
} from "../../domain/keys.ts";
import { KEYS } from "../../domain/limits.ts";
import { readTime, timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { KeyStore } from "../../store/sqlite/tables/keys.ts";
import type { FunctionService } from "../functions/functions.ts";

/** 256 bits: nobody guesses it, and a fast hash is enough to store it. */
const TOKEN_BYTES = 32;
/** From the first use of a key that is not written down to the writing: so it is once a minute at most. */
const USES_MS = 60_000;

/** Whose key a token is, or why it is none. A key that is `dead` is revoked or has expired: whoever sends it did not guess. */
export type Verdict =
  | { readonly caller: Caller }
  | { readonly refused: "none" | "wrong" | "dead"; readonly message: string };

/** What a key is stored and compared by: SHA-256 in hex. */
export function hashToken(token: string): string {
  return new Bun.CryptoHasher("sha256").update(token).digest("hex");
}

/** A new token, which nobody but its owner will ever see again. */
export function newToken(): string {
  return `slipway_${crypto.getRandomValues(Buffer.alloc(TOKEN_BYTES)).toString("base64url")}`;
}

/** What can be done with keys, and whose a token is. */
export class KeyService implements Disposable {
  readonly #store: KeyStore;
  readonly #functions: Pick<FunctionService, "get">;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #serverHash: string | undefined;
  /** When keys were last used, by their ids, as far as it is not written down. */
  readonly #uses = new Map<string, string>();
  #cancelWriting: (() => void) | undefined;

  constructor(options: {
    store: KeyStore;
    functions: Pick<FunctionService, "get">;
    clock: Clock;
    log: Logger;
    /** The hash of the server's own key, where it has one. */
    server_hash: string | undefined;
  }) {
    this.#store = options.store;
    this.#functions = options.functions;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#serverHash = options.server_hash;
  }

  /** All keys but the server's own, oldest first, also those that are revoked or have expired. */
  list(): Key[] {
    return this.#store.list().map((key) => this.#withUse(key));
  }

  /** Finds a key by its id; throws `not_found`. */
  get(id: string): Key {
    const found = this.#store.get(id);
    if (found === undefined) throw unknown(id);
    return this.#withUse(found);
  }

  /** Makes a key; its token is in the answer and nowhere else. */
  async create(body: CreateKey): Promise<NewKey> {
    checkFunctionLimit(body);
    const now = timestamp(this.#clock.now());
    const expires_at = typeof body.expires_at === "string" ? readTime("expires_at", body.expires_at) : null;
    if (expires_at !== null && expires_at <= now) {
      throw new AppError("invalid_request", `Invalid "expires_at" "${expires_at}": it is past, and it is ${now} now`);
    }
    const function_id = typeof body.function_id === "string" ? this.#functionId(body.function_id) : null;
    if (this.#store.count() >= KEYS) await this.#store.forgetDead(now);
    if (this.#store.count() >= KEYS) throw new AppError("conflict", `There are ${KEYS} keys already: revoke some`);
    const { name, scopes } = body;
    const times = { created_at: now, expires_at, last_used_at: null, revoked_at: null };
    const key: Key = { id: this.#clock.uuid(), name, scopes, function_id, ...times };
    const token = newToken();
    await this.#store.insert({ key, hash: hashToken(token) });
    return { ...key, token };
  }

  /** Revokes a key from the next request on, and tells what it is now. Its record stays, so that its name is known. */
  async revoke(id: string): Promise<Key> {
    const revoked = await this.#store.revoke(id, timestamp(this.#clock.now()));
    if (revoked === undefined) throw unknown(id);
    return this.#withUse(revoked);
  }

  /**
   * Whose key a token is. It is looked up by its SHA-256: how long that takes tells at most how much of a hash matches,
   * and nobody can choose a token by its hash. The comparison that counts takes the same time for all.
   */
  identify(token: string): Verdict {
    const hash = hashToken(token);
    if (this.#serverHash !== undefined && sameHash(hash, this.#serverHash)) return { caller: administrator("server") };
    const found = this.#store.findByHash(hash);
    if (found === undefined || !sameHash(hash, found.hash)) return this.#unidentified();
    const { id, name, scopes, function_id, revoked_at, expires_at } = found.key;
    const now = timestamp(this.#clock.now());
    if (revoked_at !== null) return dead(name, `was revoked at ${revoked_at}`);
    if (expires_at !== null && expires_at <= now) return dead(name, `expired at ${expires_at}`);
    this.#uses.set(id, now);
    this.#cancelWriting ??= this.#clock.after(USES_MS, () => this.#writeUses());
    return { caller: { key_id: id, scopes, function_id } };
  }

  /** Writes down what is not yet. */
  [Symbol.dispose](): void {
    this.#cancelWriting?.();
    this.#writeUses();
  }

  #unidentified(): Verdict {
    if (this.#serverHash === undefined && this.#store.count() === 0) {
      return { refused: "none", message: "This server has no API key: send none, or one that POST /v1/keys makes" };
    }
    return {
      refused: "wrong",
      message:
        "The API key is wrong: send the one that the server was given, or printed at its first start, " +
        "or one that POST /v1/keys made",
    };
  }

  #functionId(idOrName: string): string {
    try {
      return this.#functions.get(idOrName).id;
    } catch (error) {
      const shown = JSON.stringify(idOrName.slice(0, 100));
      throw new AppError(
        "invalid_request",
        `Invalid "function_id" ${shown}: there is no such function, GET /v1/functions lists them`,
        { cause: error },
      );
    }
  }

  #withUse(key: Key): Key {
    return { ...key, last_used_at: this.#uses.get(key.id) ?? key.last_used_at };
  }

  #writeUses(): void {
    this.#cancelWriting = undefined;
    if (this.#uses.size === 0) return;
    try {
      this.#store.noteUses(this.#uses);
      this.#uses.clear();
    } catch (error) {
      // They are tried again with the next use.
      this.#log.warn("cannot write when keys were last used", { error });
    }
  }
}

function dead(name: string, fate: string): Verdict {
  const message = `The API key ${JSON.stringify(name)} ${fate}: send another, which an administrator makes with POST /v1/keys`;
  return { refused: "dead", message };
}

function unknown(id: string): AppError {
  return new AppError("not_found", `No key ${JSON.stringify(id.slice(0, 100))}: GET /v1/keys lists them`);
}

function sameHash(a: string, b: string): boolean {
  return a.length === b.length && crypto.timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
