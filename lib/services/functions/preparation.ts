import { checkEnvironment } from "../../domain/environment.ts";
import { AppError } from "../../domain/errors.ts";
import { contractReason } from "../../domain/functions/contract.ts";
import { cellsToCheck, checkSettings, fullSettings, settingsAtCreation } from "../../domain/functions/rules.ts";
import { type Settings, SETTINGS } from "../../domain/functions/settings.ts";
import type { CreateFunction, Function } from "../../domain/functions/functions.ts";
import { LABEL_SETTINGS, settingsOfLabels } from "../../domain/images/labels.ts";
import { parseImageReference } from "../../domain/images/reference.ts";
import { MEMORY_BYTES, WARM_MAX } from "../../domain/limits.ts";
import type { FunctionTarget } from "../../domain/manifest/plan.ts";
import type { PullWatcher } from "../../domain/images/pull-progress.ts";
import type { PlatformImages, RefreshedFunction, ResolvedImage } from "../../runner/platform.ts";
import type { Runner } from "../../runner/runner.ts";
import type { SecretService } from "../secrets/secrets.ts";

/** The ways to find an image: pull it if it is missing, pull it again, or only look whether it exists. */
type Finding = "resolve" | "refresh" | "look";

/** The part of the runner that knows what the engine has. */
export interface EngineKnowledge {
  readonly images: Omit<PlatformImages, "restore">;
  readonly check: Runner["check"];
}

interface Preparing {
  /** The function that is to be changed; it keeps its image if the reference is the same, unless it is pulled again. */
  readonly before?: Function | undefined;
  readonly find: Finding;
  readonly watcher?: PullWatcher | undefined;
}

// Object.keys forgets the type of the keys.
const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof Settings)[];

/** The labels that allow the most: settings that are wrong with these are wrong with any image. */
const MOST_HELPFUL: Partial<Settings> = { contract: "stdio", memory_bytes: MEMORY_BYTES.max, warm_max: WARM_MAX.max };

interface PreparationDeps {
  readonly secrets: SecretService;
  readonly runner: EngineKnowledge;
}

/** Works out what a function that is described as a whole will be, and checks that it can be, before anything is written. */
export class FunctionPreparation {
  readonly #deps: PreparationDeps;

  constructor(deps: PreparationDeps) {
    this.#deps = deps;
  }

  /**
   * Throws for mistakes that can be seen at once, so that nobody waits minutes for this answer. Settings that `before` has
   * already are not checked again: a secret that was deleted since, or a reference of an older database, is not a mistake
   * of this change.
   */
  check(body: CreateFunction, before?: Function): void {
    const { environment, name: _name, image, ...settings } = body;
    const given = fullSettings(settings);
    if (environment) checkEnvironment(environment);
    const use = { secrets: given.secrets ?? [], environment: environment ?? {} };
    if (before === undefined || changesSecrets(before, use)) this.#deps.secrets.check(use);
    checkSettings(settingsAtCreation(given, MOST_HELPFUL));
    if (before?.image !== image) parseImageReference(image);
  }

  /** Finds the image and checks the settings with the engine; the image's labels are defaults for settings. */
  async prepare(body: CreateFunction, { before, find, watcher }: Preparing): Promise<FunctionTarget> {
    const { environment, name: _name, image, ...others } = body;
    const given = fullSettings(others);
    // Before the image is pulled.
    await this.#deps.runner.check(othersThan(before, given));
    const kept = before?.image === image && find !== "refresh" ? before : undefined;
    const resolved =
      kept === undefined
        ? await this.#find(find, image, { ...given, digest: before?.digest ?? null }, watcher)
        : undefined;
    const labels =
      kept === undefined
        ? resolved && settingsOfLabels(image, (await this.#deps.runner.images.labels(resolved.image_id)) ?? {})
        : await this.labelsOf(kept);
    // If the labels are not (or no longer) known, the settings that they could set stay; an image not found has none.
    const settings = settingsAtCreation(given, labels ?? (kept === undefined ? {} : labelSettings(kept)));
    checkSettings(settings);
    const asked = { ...othersThan(before, { ...labels, ...given }), ...cellsToCheck(before, settings) };
    await this.#deps.runner.check(asked, (kept ?? resolved)?.image_id);
    if (kept !== undefined && (!same(kept, settings, "entrypoint") || !same(kept, settings, "command"))) {
      await this.#deps.runner.images.checkCommand({ ...kept, ...settings });
    }
    const lost = kept !== undefined && labels === undefined && given.contract === undefined;
    const contract_reason = lost ? kept.contract_reason : contractReason(given, labels);
    return { image, environment: environment ?? {}, settings, contract_reason, resolved };
  }

  /**
   * Returns the settings that the labels of a function's image set; undefined if the engine has lost the image, if it
   * is not known yet, or if it was registered before such labels were read, and has invalid ones.
   */
  async labelsOf({ image, image_id }: Function): Promise<Partial<Settings> | undefined> {
    const labels = image_id === null ? undefined : await this.#deps.runner.images.labels(image_id);
    try {
      return labels && settingsOfLabels(image, labels);
    } catch (error) {
      if (error instanceof AppError && error.reason === "image_invalid") return undefined;
      throw error;
    }
  }

  #find(
    find: Finding,
    image: string,
    own: RefreshedFunction,
    watcher?: PullWatcher,
  ): Promise<ResolvedImage | undefined> {
    switch (find) {
      case "resolve":
        return this.#deps.runner.images.resolve(image, own, watcher);
      case "refresh":
        return this.#deps.runner.images.refresh(image, own, watcher);
      case "look":
        return this.#deps.runner.images.look(image, own);
    }
  }
}

/** Returns whether a change gives a function other secrets, or other variables. */
export function changesSecrets(
  before: Pick<Function, "secrets" | "environment">,
  after: Pick<Function, "secrets" | "environment">,
): boolean {
  return !Bun.deepEquals([before.secrets, before.environment], [after.secrets, after.environment]);
}

/** Returns the settings that differ from those of a function: only these are checked with the engine. */
function othersThan(before: Function | undefined, given: Partial<Settings>): Partial<Settings> {
  if (before === undefined) return given;
  return Object.fromEntries(
    SETTING_NAMES.filter((name) => given[name] !== undefined && !Bun.deepEquals(given[name], before[name])).map(
      (name) => [name, given[name]],
    ),
  );
}

function labelSettings(fn: Function): Partial<Settings> {
  return Object.fromEntries(LABEL_SETTINGS.map((name) => [name, fn[name]]));
}

function same(before: Settings, after: Settings, name: keyof Settings): boolean {
  return Bun.deepEquals(before[name], after[name]);
}
