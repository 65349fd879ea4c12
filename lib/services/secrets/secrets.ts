import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { SECRETS_OF_FUNCTION_BYTES } from "../../domain/limits.ts";
import {
  checkSecretUses,
  checkSecretValue,
  NO_SECRETS,
  type PutSecret,
  type Secret,
  secretSizeProblem,
  type SecretUse,
  type SecretValues,
} from "../../domain/secrets.ts";
import { notFound } from "../../domain/quoted.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import { retryStale } from "../../store/errors.ts";
import type { SealedSecret } from "../../store/records.ts";
import type { Store } from "../../store/store.ts";
import type { Vault } from "./vault.ts";

/** The part of a function that its secrets depend on. */
type SecretSettings = Pick<Function, "secrets" | "environment">;

interface SecretDeps {
  readonly store: Pick<Store, "secrets" | "functions" | "revision">;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when a secret has another value, or is gone: what was handed the value before a call has an old one. */
  readonly onChange: (name: string) => void;
}

/** Manages secrets: they are stored sealed, and opened only for a call. */
export class SecretService {
  readonly #deps: SecretDeps;

  constructor(deps: SecretDeps) {
    this.#deps = deps;
  }

  list(): Secret[] {
    return this.#deps.store.secrets.list();
  }

  /** Finds a secret; throws `not_found`. Its value is not shown. */
  get(name: string): Secret {
    const found = this.#deps.store.secrets.get(name);
    if (found === undefined) throw notFound("secret", name);
    return this.#shown(found);
  }

  /**
   * Makes a secret or gives it another value, which the next call gets; `created` says whether it is new. The same value again
   * changes nothing for functions.
   */
  async put(name: string, { value }: PutSecret): Promise<{ readonly secret: Secret; readonly created: boolean }> {
    checkSecretValue(value);
    const { store, vault, clock } = this.#deps;
    const bytes = Buffer.byteLength(value);
    const sealed = vault.seal(contextOf(name), value);
    const { before, after } = await retryStale(() => {
      const { revision } = store;
      const present = store.secrets.get(name);
      if (bytes > (present?.bytes ?? 0) || value.includes("\0")) this.#checkUsers(name, value);
      const now = timestamp(clock.now());
      return store.secrets.put({ name, value: sealed, bytes, created_at: now, updated_at: now }, { revision });
    });
    if (before === undefined || !this.#holds(before, value)) this.#deps.onChange(name);
    return { secret: this.#shown(after), created: before === undefined };
  }

  /** Deletes a secret and returns it; one that functions use only with `force`. */
  async delete(name: string, options: { readonly force: boolean }): Promise<Secret> {
    const deleted = await this.#deps.store.secrets.delete(name, options);
    if (deleted === undefined) throw notFound("secret", name);
    this.#deps.onChange(name);
    return deleted;
  }

  /** Throws `invalid_request` if a function could not be given the secrets that it names. */
  check(fn: SecretSettings): void {
    if (fn.secrets.length === 0) return;
    checkSecretUses(fn.secrets, fn.environment);
    const problem =
      fn.secrets.map((use) => this.#problem(use)).find((found) => found !== undefined) ??
      secretSizeProblem(fn, (name) => this.#deps.store.secrets.get(name)?.bytes ?? 0);
    if (problem !== undefined) throw new AppError("invalid_request", `Invalid "secrets": ${problem}`);
  }

  /**
   * Returns the values for a call of this function, as they are now. Throws `secret_unavailable` if one was deleted
   * since the function, or a version of it, named it, or cannot be opened. Nothing is kept in the clear: opening takes
   * 10 us a secret.
   */
  valuesFor(fn: Pick<Function, "id" | "secrets">): SecretValues {
    if (fn.secrets.length === 0) return NO_SECRETS;
    const variables: [string, string][] = [];
    const files: { name: string; value: string }[] = [];
    let bytes = 0;
    for (const { name, environment: variable } of fn.secrets) {
      const value = this.#open(name);
      bytes += Buffer.byteLength(value);
      if (variable === null) files.push({ name, value });
      else if (value.includes("\0")) throw unavailable(name, `holds a NUL, which no variable can: make it a file`);
      else variables.push([variable, value]);
      // Only after a return to a version that is older than one of its secrets.
      if (bytes > SECRETS_OF_FUNCTION_BYTES) throw unavailable(name, "makes the function's secrets too large together");
    }
    // Not by assignment: it would not create a variable named `__proto__`.
    return { environment: Object.fromEntries(variables), files };
  }

  #problem({ name, environment: variable }: SecretUse): string | undefined {
    if (this.#deps.store.secrets.get(name) === undefined)
      return `there is no secret "${name}": PUT /v1/secrets/${name} first`;
    if (variable === null || !this.#open(name).includes("\0")) return undefined;
    return `the secret "${name}" holds a NUL, which no variable can: give it as a file`;
  }

  /** Throws `conflict` if a function that has this secret could not be given this value. */
  #checkUsers(name: string, value: string): void {
    const bytes = Buffer.byteLength(value);
    for (const { id } of this.#deps.store.secrets.users(name)) {
      const fn = this.#deps.store.functions.get(id);
      if (fn === undefined) continue;
      const variable = fn.secrets.find((use) => use.name === name && use.environment !== null)?.environment;
      const problem =
        variable !== undefined && value.includes("\0")
          ? `it is given to it as the variable "${variable}", and no variable can hold a NUL`
          : secretSizeProblem(fn, (other) =>
              other === name ? bytes : (this.#deps.store.secrets.get(other)?.bytes ?? 0),
            );
      if (problem === undefined) continue;
      throw new AppError("conflict", `Cannot give the function "${fn.name ?? id}" this value: ${problem}`);
    }
  }

  #open(name: string): string {
    const found = this.#deps.store.secrets.get(name);
    if (found === undefined) throw unavailable(name, "does not exist");
    try {
      return this.#deps.vault.open(contextOf(name), found.value);
    } catch (error) {
      this.#deps.log.error("a secret cannot be opened", { secret: name, error });
      throw unavailable(name, "cannot be read", error);
    }
  }

  #holds({ name, value: sealed }: SealedSecret, value: string): boolean {
    try {
      return this.#deps.vault.open(contextOf(name), sealed) === value;
    } catch {
      return false; // sealed with a key that is lost
    }
  }

  #shown({ name, created_at, updated_at }: SealedSecret): Secret {
    return { name, used_by: this.#deps.store.secrets.users(name), created_at, updated_at };
  }
}

function contextOf(name: string): string {
  return `secret:${name}`;
}

function unavailable(name: string, why: string, cause?: unknown): AppError {
  return new AppError(
    "secret_unavailable",
    `The function's secret "${name}" ${why}: PUT /v1/secrets/${name}, or take it out of the function's "secrets"`,
    { cause },
  );
}
