import type { Clock } from "../../clock.ts";
import {
  type ConfigEntry,
  type DockerConfig,
  readDockerConfig,
  type SkippedEntry,
} from "../../domain/images/docker-config.ts";
import { AppError } from "../../domain/errors.ts";
import { REGISTRIES } from "../../domain/limits.ts";
import {
  credentialsOf,
  type PutRegistry,
  type Registry,
  type RegistryCredentials,
  registryHost,
  type RegistryImport,
} from "../../domain/images/registries.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { CurrentCredentials } from "../../runner/platform.ts";
import type { Runner } from "../../runner/runner.ts";
import type { RegistryRow, RegistryStore } from "../../store/sqlite/tables/registries.ts";
import type { Vault } from "../secrets/vault.ts";

/** Registries that are asked at the same time while a configuration is imported. */
const CHECKS_AT_ONCE = 8;

/** What can be done with the credentials of registries: they are kept sealed, and opened only for a pull. */
export class RegistryService {
  readonly #store: RegistryStore;
  readonly #vault: Vault;
  readonly #runner: Pick<Runner, "checkCredentials">;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(options: {
    store: RegistryStore;
    vault: Vault;
    runner: Pick<Runner, "checkCredentials">;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#vault = options.vault;
    this.#runner = options.runner;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  list(): Registry[] {
    return this.#store.list();
  }

  /** What is told of a registry, under any of its names; throws `not_found`. */
  get(name: string): Registry {
    const found = this.#store.get(registryHost(name));
    if (found === undefined) throw unknown(name);
    return shown(found);
  }

  /**
   * Keeps credentials for a registry, which the next pull uses; tells whether they are its first. With `check` the
   * registry is asked first: throws `registry_denied`, `registry_unavailable` or `engine_unavailable`, and keeps nothing.
   */
  async put(
    name: string,
    body: PutRegistry,
    { check }: { readonly check: boolean },
  ): Promise<{ readonly registry: Registry; readonly created: boolean }> {
    const credentials = credentialsOf(registryHost(name), body);
    if (check) await this.#check(credentials);
    const [stored] = await this.#keep([{ ...credentials, checked: check }]);
    if (stored === undefined) throw new Error("Nothing was stored");
    return { registry: shown(stored.after), created: stored.before === undefined };
  }

  /** Deletes the credentials of a registry and tells what they were. */
  async delete(name: string): Promise<Registry> {
    const deleted = await this.#store.delete(registryHost(name));
    if (deleted === undefined) throw unknown(name);
    return shown(deleted);
  }

  /**
   * Keeps the credentials in a Docker `config.json`, of the registries that accept them. Throws `engine_unavailable` where
   * they could not be asked, and keeps nothing.
   */
  async import(config: DockerConfig, { check }: { readonly check: boolean }): Promise<RegistryImport> {
    const { found, skipped } = readDockerConfig(config);
    const refused = check ? await this.#refused(found) : [];
    const left = new Set(refused.map(({ entry }) => entry));
    const accepted = found.filter(({ entry }) => !left.has(entry));
    const stored = await this.#keep(accepted.map(({ credentials }) => ({ ...credentials, checked: check })));
    return { imported: stored.map(({ after }) => shown(after)), skipped: [...skipped, ...refused] };
  }

  /**
   * The credentials for a pull from a registry, as they are now. Throws `secret_unavailable` where they cannot be opened:
   * without them a private image would seem not to exist.
   */
  credentialsFor(host: string): CurrentCredentials | undefined {
    const row = this.#store.get(host);
    if (row === undefined) return undefined;
    const { kind, username, secret } = row;
    try {
      const opened = this.#vault.open(contextOf(host), secret);
      // It begins with a random number, and so is never twice the same.
      return { host, kind, username, secret: opened, revision: secret.slice(0, 40) };
    } catch (error) {
      this.#log.error("the credentials of a registry cannot be opened", { registry: host, error });
      throw new AppError(
        "secret_unavailable",
        `The credentials of the registry "${host}" cannot be read: PUT /v1/registries/${host} anew, or delete them`,
        { cause: error },
      );
    }
  }

  async #check(credentials: RegistryCredentials): Promise<void> {
    try {
      await this.#runner.checkCredentials(credentials);
    } catch (error) {
      if (!(error instanceof AppError) || error.reason !== "engine_unavailable") throw error;
      throw new AppError(
        error.reason,
        `Cannot ask the registry "${credentials.host}", and nothing was stored. ${error.message} ` +
          "?check=false stores the credentials all the same.",
        { cause: error, ...(error.retry_after_s !== undefined && { retry_after_s: error.retry_after_s }) },
      );
    }
  }

  /** Which entries their registries do not accept. */
  async #refused(found: readonly ConfigEntry[]): Promise<SkippedEntry[]> {
    const refused: SkippedEntry[] = [];
    const waiting = found.values();
    const work = async (): Promise<void> => {
      for (const { entry, credentials } of waiting) {
        try {
          await this.#check(credentials);
        } catch (error) {
          if (!(error instanceof AppError) || error.reason === "engine_unavailable") throw error;
          refused.push({ entry, problem: error.message });
        }
      }
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, work));
    return refused.toSorted((a, b) => a.entry.localeCompare(b.entry));
  }

  #keep(those: readonly (RegistryCredentials & { readonly checked: boolean })[]) {
    const sealed = those.map((one) => ({ ...one, secret: this.#vault.seal(contextOf(one.host), one.secret) }));
    return this.#store.put(sealed, ({ checked, ...credentials }, current): RegistryRow => {
      if (current === undefined && this.#store.count() >= REGISTRIES) {
        throw new AppError("conflict", `There are credentials for ${REGISTRIES} registries already: delete some`);
      }
      const now = timestamp(this.#clock.now());
      const created_at = current?.created_at ?? now;
      return { ...credentials, checked_at: checked ? now : null, created_at, updated_at: now };
    });
  }
}

function shown({ host, kind, username, checked_at, created_at, updated_at }: RegistryRow): Registry {
  return { host, kind, username, checked_at, created_at, updated_at };
}

function contextOf(host: string): string {
  return `registry:${host}`;
}

function unknown(name: string): AppError {
  const quoted = JSON.stringify(name.slice(0, 100));
  return new AppError("not_found", `No credentials for the registry ${quoted}: GET /v1/registries lists them`);
}
