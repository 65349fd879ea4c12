import type { Clock } from "../../clock.ts";
import type { CallbackSecret } from "../../domain/calls/callbacks.ts";
import { CALLBACK_ROTATION_MS } from "../../domain/limits.ts";
import { timestamp } from "../../domain/types.ts";
import type { SettingStore } from "../../store/sqlite/tables/settings.ts";
import type { Vault } from "../secrets/vault.ts";

/** 256 bits, as many as HMAC-SHA256 makes use of. */
const SECRET_BYTES = 32;
const PREFIX = "whsec_";
const CONTEXT = "callback-secrets";

/** As it is kept, sealed. */
interface Secrets {
  readonly secret: string;
  /** The one before, until that moment (milliseconds since the epoch). */
  readonly previous: { readonly secret: string; readonly until: number } | null;
}

/** What callbacks are signed with (standardwebhooks.com): one secret a server, made when it is first asked for. */
export class CallbackSecrets {
  readonly #settings: SettingStore;
  readonly #vault: Vault;
  readonly #clock: Clock;

  constructor(options: { settings: SettingStore; vault: Vault; clock: Clock }) {
    this.#settings = options.settings;
    this.#vault = options.vault;
    this.#clock = options.clock;
  }

  /** The secret for those who verify callbacks. */
  async get(): Promise<CallbackSecret> {
    return this.#shown(await this.#current());
  }

  /** Makes another secret. For a day callbacks are signed with both, so that receivers can change in their own time. */
  async rotate(): Promise<CallbackSecret> {
    const until = this.#clock.now() + CALLBACK_ROTATION_MS;
    const made = await this.#change((before) => ({
      secret: newSecret(),
      previous: before && { secret: before.secret, until },
    }));
    return this.#shown(made);
  }

  /** The headers of a callback that is sent at this moment. */
  async headers(id: string, body: string): Promise<Readonly<Record<string, string>>> {
    const { secret, previous } = await this.#current();
    const now = this.#clock.now();
    const seconds = String(Math.floor(now / 1000));
    const secrets = previous !== null && previous.until > now ? [secret, previous.secret] : [secret];
    const signatures = secrets.map((one) => `v1,${signature(one, `${id}.${seconds}.${body}`)}`);
    return { "webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": signatures.join(" ") };
  }

  async #current(): Promise<Secrets> {
    const sealed = this.#settings.callbackSecrets();
    if (sealed !== null) return this.#open(sealed);
    return this.#change((before) => before ?? { secret: newSecret(), previous: null });
  }

  async #change(change: (before: Secrets | null) => Secrets): Promise<Secrets> {
    const sealed = await this.#settings.changeCallbackSecrets((before) =>
      this.#vault.seal(CONTEXT, JSON.stringify(change(before === null ? null : this.#open(before)))),
    );
    return this.#open(sealed);
  }

  #open(sealed: string): Secrets {
    return JSON.parse(this.#vault.open(CONTEXT, sealed)) as Secrets; // `#change` sealed it
  }

  #shown({ secret, previous }: Secrets): CallbackSecret {
    const known = previous !== null && previous.until > this.#clock.now();
    return { secret, previous_until: known ? timestamp(previous.until) : null };
  }
}

function newSecret(): string {
  return PREFIX + crypto.getRandomValues(Buffer.alloc(SECRET_BYTES)).toString("base64");
}

function signature(secret: string, text: string): string {
  const key = Buffer.from(secret.slice(PREFIX.length), "base64");
  return new Bun.CryptoHasher("sha256", key).update(text).digest("base64");
}
