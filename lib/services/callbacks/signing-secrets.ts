import type { Clock } from "../../clock.ts";
import type { CallbackSecret } from "../../domain/calls/callbacks.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { CALLBACK_ROTATION_MS } from "../../domain/limits.ts";
import { isAhead } from "../../domain/time/set-back.ts";
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

/**
 * Signs callbacks (standardwebhooks.com). The server has one secret, made when it is first needed, and derives one for each
 * function from it: whoever knows a function's secret can neither find the server's nor another function's. Callbacks are
 * also signed with the server's own, for receivers that were given that.
 */
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

  /** Returns the secret for receivers of one function's callbacks. */
  async getFor(functionId: string): Promise<CallbackSecret> {
    const { secret, previous } = await this.#current();
    return this.#shown({ secret: derived(secret, functionId), previous });
  }

  /** Makes a new secret, and with it new ones for all functions. For a day callbacks are signed with both, so that receivers can change in their own time. */
  async rotate(): Promise<CallbackSecret> {
    const until = this.#deps.clock.now() + CALLBACK_ROTATION_MS;
    const made = await this.#change((before) => ({
      secret: newSecret(),
      previous: before && { secret: before.secret, until },
    }));
    return this.#shown(made);
  }

  /** Returns the headers of a callback that is sent now, for an invocation of a function. */
  async headers(
    { id, function_id }: Pick<Invocation, "id" | "function_id">,
    body: string | Uint8Array,
  ): Promise<Readonly<Record<string, string>>> {
    const { secret, previous } = await this.#current();
    const seconds = String(Math.floor(this.#deps.clock.now() / 1000));
    const own = this.#isValid(previous) ? [secret, previous.secret] : [secret];
    const secrets = [...own.map((one) => derived(one, function_id)), ...own];
    const signatures = secrets.map((one) => `v1,${signature(one, `${id}.${seconds}.`, body)}`);
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

  /** Returns whether a previous secret still signs: for a day, also if the clock was ahead when it was replaced. */
  #isValid(previous: Secrets["previous"]): previous is NonNullable<Secrets["previous"]> {
    const now = this.#deps.clock.now();
    return previous !== null && previous.until > now && !isAhead(previous.until - CALLBACK_ROTATION_MS, now);
  }

  #shown({ secret, previous }: Secrets): CallbackSecret {
    return { secret, previous_until: this.#isValid(previous) ? timestamp(previous.until) : null };
  }
}

function newSecret(): string {
  return PREFIX + crypto.getRandomValues(Buffer.alloc(SECRET_BYTES)).toString("base64");
}

/** Derives a function's secret by HKDF-SHA256 (RFC 5869). */
function derived(secret: string, functionId: string): string {
  const key = Buffer.from(secret.slice(PREFIX.length), "base64");
  const { hkdfSync } = process.getBuiltinModule("node:crypto");
  return (
    PREFIX + Buffer.from(hkdfSync("sha256", key, "", `callbacks of ${functionId}`, SECRET_BYTES)).toString("base64")
  );
}

function signature(secret: string, head: string, body: string | Uint8Array): string {
  const key = Buffer.from(secret.slice(PREFIX.length), "base64");
  return new Bun.CryptoHasher("sha256", key).update(head).update(body).digest("base64");
}
