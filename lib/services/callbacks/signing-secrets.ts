import type { Clock } from "../../clock.ts";
import type { CallbackSecret } from "../../domain/calls/callbacks.ts";
import { CALLBACK_ROTATION_MS } from "../../domain/limits.ts";
import { timestamp } from "../../domain/types.ts";
import type { SettingStore } from "../../store/configuration.ts";
import { retryStale } from "../../store/errors.ts";
import type { Vault } from "../secrets/vault.ts";

/** 256 bits, as many as HMAC-SHA256 makes use of. */
const SECRET_BYTES = 32;
const PREFIX = "whsec_";
const CONTEXT = "callback-secrets";

/** The secrets as they are stored, sealed. */
interface Secrets {
  readonly secret: string;
  /** The previous secret, which is valid until that moment (milliseconds since the epoch). */
  readonly previous: { readonly secret: string; readonly until: number } | null;
}

interface SecretDeps {
  readonly settings: SettingStore;
  readonly vault: Vault;
  readonly clock: Clock;
}

/** Signs callbacks (standardwebhooks.com) with one secret for the whole server, made when it is first needed. */
export class CallbackSecrets {
  readonly #deps: SecretDeps;
  /** The secrets that callbacks are signed with, opened once. Only this server can change them: it owns the database. */
  #opened: Secrets | undefined;

  constructor(deps: SecretDeps) {
    this.#deps = deps;
  }

  /** Returns the secret for receivers, which verify callbacks with it. */
  async get(): Promise<CallbackSecret> {
    return this.#shown(await this.#current());
  }

  /** Makes a new secret. For a day callbacks are signed with both, so that receivers can change in their own time. */
  async rotate(): Promise<CallbackSecret> {
    const until = this.#deps.clock.now() + CALLBACK_ROTATION_MS;
    const made = await this.#change((before) => ({
      secret: newSecret(),
      previous: before && { secret: before.secret, until },
    }));
    return this.#shown(made);
  }

  /** Returns the headers of a callback that is sent now. */
  async headers(id: string, body: string): Promise<Readonly<Record<string, string>>> {
    const { secret, previous } = await this.#current();
    const now = this.#deps.clock.now();
    const seconds = String(Math.floor(now / 1000));
    const secrets = previous !== null && previous.until > now ? [secret, previous.secret] : [secret];
    const signatures = secrets.map((one) => `v1,${signature(one, `${id}.${seconds}.${body}`)}`);
    return { "webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": signatures.join(" ") };
  }

  async #current(): Promise<Secrets> {
    return (this.#opened ??= await this.#change((before) => before ?? { secret: newSecret(), previous: null }));
  }

  #change(change: (before: Secrets | null) => Secrets): Promise<Secrets> {
    const { settings, vault } = this.#deps;
    return retryStale(async () => {
      const before = settings.callbackSecrets();
      const known = before === null ? null : this.#open(before);
      const after = change(known);
      if (after !== known) await settings.replaceCallbackSecrets(before, vault.seal(CONTEXT, JSON.stringify(after)));
      return (this.#opened = after);
    });
  }

  #open(sealed: string): Secrets {
    return JSON.parse(this.#deps.vault.open(CONTEXT, sealed)) as Secrets; // `#change` sealed it
  }

  #shown({ secret, previous }: Secrets): CallbackSecret {
    const known = previous !== null && previous.until > this.#deps.clock.now();
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
