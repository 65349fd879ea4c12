import type { Clock } from "../../../clock.ts";
import type { Database, Statement } from "../database/database.ts";

/** What this database remembers of its server. */
type Key = "owner_id" | "api_key_hash" | "secret_key_fingerprint" | "callback_secrets";

/** The server's own settings, the only place of their SQL. Changes are on the disk when a method returns. */
export class SettingStore {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #get: Statement<{ value: string }>;
  readonly #set: Statement<never>;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#get = database.prepare("select value from settings where key = $key");
    this.#set = database.prepare(
      "insert into settings (key, value) values ($key, $value) on conflict (key) do update set value = excluded.value",
    );
  }

  /** A random id that marks this database's containers; made at the first call, and the same ever after. */
  ownerId(): string {
    return this.#read("owner_id") ?? this.#write("owner_id", this.#clock.uuid());
  }

  /** What `setApiKeyHash` was last given; null where no key was ever made. */
  apiKeyHash(): string | null {
    return this.#read("api_key_hash") ?? null;
  }

  setApiKeyHash(hash: string): void {
    this.#write("api_key_hash", hash);
  }

  /** What the key is known by that everything sealed here was sealed with; null where there never was one. */
  secretKeyFingerprint(): string | null {
    return this.#read("secret_key_fingerprint") ?? null;
  }

  setSecretKeyFingerprint(fingerprint: string): void {
    this.#write("secret_key_fingerprint", fingerprint);
  }

  /** What callbacks are signed with, sealed; null until the first one is to be. */
  callbackSecrets(): string | null {
    return this.#read("callback_secrets") ?? null;
  }

  /** Puts what `change` makes of them as they are then in their place. On the disk when the promise is fulfilled. */
  changeCallbackSecrets(change: (before: string | null) => string): Promise<string> {
    return this.#database.durably(() => {
      const value = change(this.callbackSecrets());
      this.#set.run({ key: "callback_secrets", value });
      return value;
    });
  }

  #read(key: Key): string | undefined {
    return this.#get.get({ key })?.value;
  }

  #write(key: Key, value: string): string {
    this.#database.transaction("durable", () => this.#set.run({ key, value }));
    return value;
  }
}
