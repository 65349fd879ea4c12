import type { Clock } from "../../clock.ts";
import {
  type ConfigEntry,
  type DockerConfig,
  readDockerConfig,
  type SkippedEntry,
} from "../../domain/images/docker-config.ts";
import { AppError } from "../../domain/errors.ts";
import { mapConcurrent } from "../../domain/concurrency.ts";
import { quoted } from "../../domain/quoted.ts";
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
import type { RegistryStore } from "../../store/configuration.ts";
import type { SealedRegistry } from "../../store/records.ts";
import type { Vault } from "../secrets/vault.ts";

/** Registries that are asked at the same time while a configuration is imported. */
const CHECKS_AT_ONCE = 8;

interface RegistryDeps {
  readonly store: RegistryStore;
  readonly vault: Vault;
  readonly runner: Pick<Runner, "checkCredentials">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Manages the credentials of registries: they are stored sealed, and opened only for a pull. */
export class RegistryService {
  readonly #deps: RegistryDeps;

  constructor(deps: RegistryDeps) {
    this.#deps = deps;
  }

  list(): Registry[] {
    return this.#deps.store.list();
  }

  /** Finds a registry by any of its names; throws `not_found`. Its secret is not shown. */
  get(name: string): Registry {
    const found = this.#deps.store.get(registryHost(name));
    if (found === undefined) throw noCredentials(name);
    return shown(found);
  }

  /**
   * Keeps credentials for a registry, which the next pull uses; `created` says whether they are its first. With `check`
   * the registry is asked first: throws `registry_denied`, `registry_unavailable` or `engine_unavailable`, and keeps nothing.
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

  /** Deletes the credentials of a registry and returns them. */
  async delete(name: string): Promise<Registry> {
    const deleted = await this.#deps.store.delete(registryHost(name));
    if (deleted === undefined) throw noCredentials(name);
    return shown(deleted);
  }

  /**
   * Keeps the credentials of a Docker `config.json` that their registries accept. Throws `engine_unavailable` if the
   * registries could not be asked, and keeps nothing.
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
   * Returns the credentials for a pull from a registry, as they are now. Throws `secret_unavailable` if they cannot be
   * opened: without them a private image would seem not to exist.
   */
  credentialsFor(host: string): CurrentCredentials | undefined {
    const row = this.#deps.store.get(host);
    if (row === undefined) return undefined;
    const { kind, username, secret } = row;
    try {
      const opened = this.#deps.vault.open(contextOf(host), secret);
      // It begins with a random number, and so is never twice the same.
      return { host, kind, username, secret: opened, revision: secret.slice(0, 40) };
    } catch (error) {
      this.#deps.log.error("the credentials of a registry cannot be opened", { registry: host, error });
      throw new AppError(
        "secret_unavailable",
        `The credentials of the registry "${host}" cannot be read: PUT /v1/registries/${host} anew, or delete them`,
        { cause: error },
      );
    }
  }

  /** Returns the credentials of all registries. Those that cannot be opened are left out. */
  allCredentials(): RegistryCredentials[] {
    return this.#deps.store.list().flatMap(({ host }) => {
      try {
        return this.credentialsFor(host) ?? [];
      } catch {
        // It is logged, and a build that needs them gets the registry's refusal.
        return [];
      }
    });
  }

  async #check(credentials: RegistryCredentials): Promise<void> {
    try {
      await this.#deps.runner.checkCredentials(credentials);
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

  /** Returns the entries that their registries do not accept. */
  async #refused(found: readonly ConfigEntry[]): Promise<SkippedEntry[]> {
    const answers = await mapConcurrent(found, CHECKS_AT_ONCE, async ({ entry, credentials }) => {
      try {
        await this.#check(credentials);
        return [];
      } catch (error) {
        if (!(error instanceof AppError) || error.reason === "engine_unavailable") throw error;
        return [{ entry, problem: error.message }];
      }
    });
    return answers.flat().toSorted((a, b) => a.entry.localeCompare(b.entry));
  }

  #keep(those: readonly (RegistryCredentials & { readonly checked: boolean })[]) {
    const { store, vault, clock } = this.#deps;
    const now = timestamp(clock.now());
    const sealed = those.map(({ checked, ...credentials }): SealedRegistry => ({
      ...credentials,
      secret: vault.seal(contextOf(credentials.host), credentials.secret),
      checked_at: checked ? now : null,
      created_at: now,
      updated_at: now,
    }));
    return store.put(sealed);
  }
}

function shown({ host, kind, username, checked_at, created_at, updated_at }: SealedRegistry): Registry {
  return { host, kind, username, checked_at, created_at, updated_at };
}

function contextOf(host: string): string {
  return `registry:${host}`;
}

function noCredentials(name: string): AppError {
  return new AppError("not_found", `No credentials for the registry ${quoted(name)}: GET /v1/registries lists them`);
}
