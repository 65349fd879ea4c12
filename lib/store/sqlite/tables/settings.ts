import type { Clock } from "../../../clock.ts";
import type { SettingStore } from "../../configuration.ts";
import { StaleError } from "../../errors.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { Database, Statement } from "../database/database.ts";
import { fromJson } from "../database/json.ts";

/** The names of the settings. */
type Key =
  | "owner_id"
  | "api_key_hash"
  | "secret_key_fingerprint"
  | "callback_secrets"
  | "ended_logins"
  | "own_image_ids";

/** The server's own settings, the only place of their SQL. */
export class SettingTable implements SettingStore {
  readonly #writer: ConfigurationWriter;
  readonly #clock: Clock;
  readonly #get: Statement<{ value: string }>;
  readonly #set: Statement<never>;
  readonly #ownImageId: Statement<{ id: string }>;
  readonly #isInVersion: Statement<unknown>;

  constructor(database: Database, writer: ConfigurationWriter, clock: Clock) {
    this.#writer = writer;
    this.#clock = clock;
    this.#get = database.prepare("select value from settings where key = $key");
    this.#set = database.prepare(
      "insert into settings (key, value) values ($key, $value) on conflict (key) do update set value = excluded.value",
    );
    this.#ownImageId = database.prepare(
      `select entry.value as id from settings, json_each(settings.value) as entry
       where settings.key = 'own_image_ids' and entry.key = $image_id`,
    );
    this.#isInVersion = database.prepare("select 1 from versions where image_id = $image_id limit 1");
  }

  ownerId(): Promise<string> {
    const known = this.#read("owner_id");
    if (known !== undefined) return Promise.resolve(known);
    return this.#writer.write(() => this.#read("owner_id") ?? this.#write("owner_id", this.#clock.uuid()));
  }

  apiKeyHash(): string | null {
    return this.#read("api_key_hash") ?? null;
  }

  async setApiKeyHash(hash: string): Promise<void> {
    await this.#writer.write(() => this.#write("api_key_hash", hash));
  }

  secretKeyFingerprint(): string | null {
    return this.#read("secret_key_fingerprint") ?? null;
  }

  async setSecretKeyFingerprint(fingerprint: string): Promise<void> {
    await this.#writer.write(() => this.#write("secret_key_fingerprint", fingerprint));
  }

  callbackSecrets(): string | null {
    return this.#read("callback_secrets") ?? null;
  }

  async replaceCallbackSecrets(before: string | null, after: string): Promise<void> {
    await this.#writer.write(() => {
      if (this.callbackSecrets() !== before) throw new StaleError();
      this.#write("callback_secrets", after);
    });
  }

  endedLogins(): string | null {
    return this.#read("ended_logins") ?? null;
  }

  async changeEndedLogins(change: (before: string | null) => string): Promise<void> {
    await this.#writer.write(() => this.#write("ended_logins", change(this.endedLogins())));
  }

  ownImageId(imageId: string): string | undefined {
    return this.#ownImageId.get({ image_id: imageId })?.id;
  }

  async noteOwnImageId(imageId: string, ownId: string): Promise<void> {
    await this.#writer.write(() => {
      const known = fromJson<Readonly<Record<string, string>>>(this.#read("own_image_ids") ?? "{}");
      const needed = Object.entries(known).filter(([image_id]) => this.#isInVersion.get({ image_id }) !== undefined);
      this.#write("own_image_ids", JSON.stringify({ ...Object.fromEntries(needed), [imageId]: ownId }));
    });
  }

  #read(key: Key): string | undefined {
    return this.#get.get({ key })?.value;
  }

  #write(key: Key, value: string): string {
    this.#set.run({ key, value });
    return value;
  }
}
