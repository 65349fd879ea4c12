import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { SECRETS, SECRETS_OF_FUNCTION_BYTES } from "../../domain/limits.ts";
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
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { FunctionStore } from "../../store/sqlite/tables/functions.ts";
import type { SecretRow, SecretStore } from "../../store/sqlite/tables/secrets.ts";
import type { Vault } from "./vault.ts";

/** As much of a function as its secrets depend on. */
type SecretSettings = Pick<Function, "secrets" | "environment">;

/** What can be done with secrets: they are kept sealed, and opened only for a call. */
export class SecretService {
  readonly #store: SecretStore;
  readonly #functions: FunctionStore;
  readonly #vault: Vault;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(options: { store: SecretStore; functions: FunctionStore; vault: Vault; clock: Clock; log: Logger }) {
    this.#store = options.store;
    this.#functions = options.functions;
    this.#vault = options.vault;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  list(): Secret[] {
    return this.#store.list();
  }

  /** What is told of a secret; throws `not_found`. */
  get(name: string): Secret {
    const found = this.#store.get(name);
    if (found === undefined) throw unknown(name);
    return this.#shown(found);
  }

  /** Makes a secret or gives it another value, which the next call gets; tells whether it is new. */
  async put(name: string, { value }: PutSecret): Promise<{ readonly secret: Secret; readonly created: boolean }> {
    checkSecretValue(value);
    const bytes = Buffer.byteLength(value);
    const sealed = this.#vault.seal(contextOf(name), value);
    const { before, after } = await this.#store.put(name, (current) => {
      if (current === undefined && this.#store.count() >= SECRETS) {
        throw new AppError("conflict", `There are ${SECRETS} secrets already: delete some`);
      }
      if (bytes > (current?.bytes ?? 0) || value.includes("\0")) this.#checkUsers(name, value);
      const now = timestamp(this.#clock.now());
      return { name, value: sealed, bytes, created_at: current?.created_at ?? now, updated_at: now };
    });
    return { secret: this.#shown(after), created: before === undefined };
  }

  /** Deletes a secret and tells what it was; one that functions name only where `force` says so. */
  async delete(name: string, options: { readonly force: boolean }): Promise<Secret> {
    const deleted = await this.#store.delete(name, options);
    if (deleted === undefined) throw unknown(name);
    return deleted;
  }

  /** Throws `invalid_request` where a function could not be given the secrets that it names. */
  check(fn: SecretSettings): void {
    if (fn.secrets.length === 0) return;
    checkSecretUses(fn.secrets, fn.environment);
    const problem =
      fn.secrets.map((use) => this.#problem(use)).find((found) => found !== undefined) ??
      secretSizeProblem(fn, (name) => this.#store.get(name)?.bytes ?? 0);
    if (problem !== undefined) throw new AppError("invalid_request", `Invalid "secrets": ${problem}`);
  }

  /**
   * The values for a call of this function, as they are now. Throws `secret_unavailable` where one was deleted since the
   * function, or a version of it, named it, or cannot be opened. Nothing is kept in the clear: it takes 10 us a secret.
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
      // Only where a version came back that is older than one of its secrets.
      if (bytes > SECRETS_OF_FUNCTION_BYTES) throw unavailable(name, "makes the function's secrets too large together");
    }
    // Not by assignment, which would take the variable `__proto__` for something else.
    return { environment: Object.fromEntries(variables), files };
  }

  #problem({ name, environment: variable }: SecretUse): string | undefined {
    if (this.#store.get(name) === undefined) return `there is no secret "${name}": PUT /v1/secrets/${name} first`;
    if (variable === null || !this.#open(name).includes("\0")) return undefined;
    return `the secret "${name}" holds a NUL, which no variable can: give it as a file`;
  }

  /** Throws `conflict` where a function that has this secret could not be given this value. */
  #checkUsers(name: string, value: string): void {
    const bytes = Buffer.byteLength(value);
    for (const { id } of this.#store.users(name)) {
      const fn = this.#functions.get(id);
      if (fn === undefined) continue;
      const variable = fn.secrets.find((use) => use.name === name && use.environment !== null)?.environment;
      const problem =
        variable !== undefined && value.includes("\0")
          ? `it is given to it as the variable "${variable}", and no variable can hold a NUL`
          : secretSizeProblem(fn, (other) => (other === name ? bytes : (this.#store.get(other)?.bytes ?? 0)));
      if (problem === undefined) continue;
      throw new AppError("conflict", `Cannot give the function "${fn.name ?? id}" this value: ${problem}`);
    }
  }

  #open(name: string): string {
    const found = this.#store.get(name);
    if (found === undefined) throw unavailable(name, "does not exist");
    try {
      return this.#vault.open(contextOf(name), found.value);
    } catch (error) {
      this.#log.error("a secret cannot be opened", { secret: name, error });
      throw unavailable(name, "cannot be read", error);
    }
  }

  #shown({ name, created_at, updated_at }: SecretRow): Secret {
    return { name, used_by: this.#store.users(name), created_at, updated_at };
  }
}

function contextOf(name: string): string {
  return `secret:${name}`;
}

function unknown(name: string): AppError {
  return new AppError("not_found", `No secret ${JSON.stringify(name.slice(0, 100))}: GET /v1/secrets lists them`);
}

function unavailable(name: string, why: string, cause?: unknown): AppError {
  return new AppError(
    "secret_unavailable",
    `The function's secret "${name}" ${why}: PUT /v1/secrets/${name}, or take it out of the function's "secrets"`,
    { cause },
  );
}
