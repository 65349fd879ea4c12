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
import { Alarm } from "../../domain/concurrency.ts";
import { notFound, quoted } from "../../domain/quoted.ts";
import type { KeyStore } from "../../store/configuration.ts";
import type { FunctionService } from "../functions/functions.ts";
import { hashToken, newToken } from "./tokens.ts";

/** The time from the first use of a key that is not noted yet to the note: it is written once a minute at most. */
const USES_MS = 60_000;

/** The id of the server's own key. */
const SERVER_KEY_ID = "server";

/** The caller that a token belongs to, or why it is refused. A `dead` key is revoked or has expired: its sender did not guess. */
export type Identification =
  | { readonly caller: Caller }
  | { readonly refused: "none" | "wrong"; readonly message: string }
  | { readonly refused: "dead"; readonly message: string; readonly key_id: string };

interface KeyDeps {
  readonly store: KeyStore;
  readonly functions: Pick<FunctionService, "get">;
  readonly clock: Clock;
  readonly log: Logger;
  /** The hash of the server's own key, if it has one. */
  readonly server_hash: string | undefined;
}

/** Manages keys, and identifies callers by their tokens. */
export class KeyService implements AsyncDisposable {
  readonly #deps: KeyDeps;
  /** The times at which keys were last used, by their ids, that are not noted in the store yet. */
  readonly #uses = new Map<string, string>();
  readonly #noteUses: Alarm;
  #isNoteDue = false;

  constructor(deps: KeyDeps) {
    this.#deps = deps;
    this.#noteUses = new Alarm(deps.clock, () => void this.#writeUses());
  }

  /** Lists all keys except the server's own, oldest first, including those that are revoked or have expired. */
  list(): Key[] {
    return this.#deps.store.list().map((key) => this.#withUse(key));
  }

  /** Finds a key by its id; throws `not_found`. */
  get(id: string): Key {
    const found = this.#deps.store.get(id);
    if (found === undefined) throw notFound("key", id);
    return this.#withUse(found);
  }

  /** Makes a key. Its token is in the answer and nowhere else. */
  async create(body: CreateKey): Promise<NewKey> {
    checkFunctionLimit(body);
    const now = timestamp(this.#deps.clock.now());
    const expires_at = typeof body.expires_at === "string" ? readTime("expires_at", body.expires_at) : null;
    if (expires_at !== null && expires_at <= now) {
      throw new AppError("invalid_request", `Invalid "expires_at" "${expires_at}": it is past, and it is ${now} now`);
    }
    const function_id = typeof body.function_id === "string" ? this.#functionId(body.function_id) : null;
    if (this.#deps.store.count() >= KEYS) await this.#deps.store.forgetDead(now);
    if (this.#deps.store.count() >= KEYS) throw new AppError("conflict", `There are ${KEYS} keys already: revoke some`);
    const { name, scopes } = body;
    const times = { created_at: now, expires_at, last_used_at: null, revoked_at: null };
    const key: Key = { id: this.#deps.clock.uuid(), name, scopes, function_id, ...times };
    const token = newToken();
    await this.#deps.store.insert({ key, hash: hashToken(token) });
    return { ...key, token };
  }

  /** Revokes a key from the next request on, and returns it. Its record stays, so that its name is known. */
  async revoke(id: string): Promise<Key> {
    const revoked = await this.#deps.store.revoke(id, timestamp(this.#deps.clock.now()));
    if (revoked === undefined) throw notFound("key", id);
    return this.#withUse(revoked);
  }

  /**
   * Identifies the caller of a token. It is looked up by its SHA-256: the time that takes reveals at most how much of a
   * hash matches, and nobody can choose a token by its hash. The comparison that counts takes the same time for all.
   */
  identify(token: string): Identification {
    const hash = hashToken(token);
    if (this.#deps.server_hash !== undefined && sameHash(hash, this.#deps.server_hash))
      return { caller: administrator(SERVER_KEY_ID) };
    const found = this.#deps.store.findByHash(hash);
    return found === undefined || !sameHash(hash, found.hash) ? this.#unidentified() : this.#use(found.key);
  }

  /**
   * Identifies the caller of a session by the id of the key that it was opened with. `isBound` gets the hash of that key's token as
   * it is now. Returns undefined if there is no such key, or the session is not bound to it.
   */
  identifyHolder(key_id: string, isBound: (hash: string) => boolean): Identification | undefined {
    const { server_hash, store } = this.#deps;
    if (key_id === SERVER_KEY_ID) {
      return server_hash !== undefined && isBound(server_hash) ? { caller: administrator(SERVER_KEY_ID) } : undefined;
    }
    const found = store.stored(key_id);
    return found !== undefined && isBound(found.hash) ? this.#use(found.key) : undefined;
  }

  /** Notes the uses that are not noted yet. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#noteUses[Symbol.dispose]();
    await this.#writeUses();
  }

  /** Notes a use of a key, if it is still good for one. */
  #use(key: Key): Identification {
    const { id, scopes, function_id, revoked_at, expires_at } = key;
    const now = timestamp(this.#deps.clock.now());
    if (revoked_at !== null) return dead(key, `was revoked at ${revoked_at}`);
    if (expires_at !== null && expires_at <= now) return dead(key, `expired at ${expires_at}`);
    this.#uses.set(id, now);
    if (!this.#isNoteDue) this.#noteUses.set(USES_MS);
    this.#isNoteDue = true;
    return { caller: { key_id: id, scopes, function_id } };
  }

  #unidentified(): Identification {
    if (this.#deps.server_hash === undefined && this.#deps.store.count() === 0) {
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
      return this.#deps.functions.get(idOrName).id;
    } catch (error) {
      throw new AppError(
        "invalid_request",
        `Invalid "function_id" ${quoted(idOrName)}: there is no such function, GET /v1/functions lists them`,
        { cause: error },
      );
    }
  }

  #withUse(key: Key): Key {
    return { ...key, last_used_at: this.#uses.get(key.id) ?? key.last_used_at };
  }

  async #writeUses(): Promise<void> {
    this.#isNoteDue = false;
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses];
    try {
      await this.#deps.store.noteUses(uses);
      for (const [id, usedAt] of uses) if (this.#uses.get(id) === usedAt) this.#uses.delete(id);
    } catch (error) {
      // They are noted with the next use.
      this.#deps.log.warn("cannot write when keys were last used", { error });
    }
  }
}

function dead({ id, name }: Key, fate: string): Identification {
  const message = `The API key ${JSON.stringify(name)} ${fate}: send another, which an administrator makes with POST /v1/keys`;
  return { refused: "dead", message, key_id: id };
}

function sameHash(a: string, b: string): boolean {
  return a.length === b.length && crypto.timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
