import { checkEnvironment } from "../../domain/environment.ts";
import { AppError } from "../../domain/errors.ts";
import { checkSettings, settingsAtCreation } from "../../domain/functions/rules.ts";
import { type Settings, SETTINGS } from "../../domain/functions/settings.ts";
import type { CreateFunction, Function } from "../../domain/functions/functions.ts";
import { LABEL_SETTINGS, settingsOfLabels } from "../../domain/images/labels.ts";
import { parseImageReference } from "../../domain/images/reference.ts";
import { MEMORY_BYTES, WARM_MAX } from "../../domain/limits.ts";
import type { FunctionTarget } from "../../domain/manifest/plan.ts";
import type { PullWatcher } from "../../domain/images/pull-progress.ts";
import type { ImageResolver, ResolvedImage } from "../../docker/images/image-resolver.ts";
import type { SettingsCheck } from "../../docker/containers/settings-check.ts";
import type { SecretService } from "../secrets/secrets.ts";

/** How an image is found: pulled where it is missing, pulled anew, or looked at where it is there. */
type Finding = "resolve" | "refresh" | "look";

/** As much of the runner as knows what the engine has. */
export interface EngineKnowledge {
  readonly images: Pick<ImageResolver, "resolve" | "refresh" | "look" | "settings" | "config" | "checkCommand">;
  readonly settings: Pick<SettingsCheck, "check">;
}

interface Preparing {
  /** The function that is to become so; it keeps its image where that is named as before, unless it is pulled anew. */
  readonly before?: Function | undefined;
  readonly find: Finding;
  readonly watcher?: PullWatcher | undefined;
}

// Object.keys forgets the type of the keys.
const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof Settings)[];

/** The labels of an image that allow most: what is wrong with these is so with any, before the image is known. */
const MOST_HELPFUL: Partial<Settings> = { memory_bytes: MEMORY_BYTES.max, warm_max: WARM_MAX.max };

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
   * Throws for what can be told at once, so that nobody waits minutes for this answer. What `before` has already is not
   * looked at again: a secret that was deleted since, or a reference of an older database, is no mistake of this change.
   */
  check(body: CreateFunction, before?: Function): void {
    const { environment, name: _name, image, ...given } = body;
    if (environment) checkEnvironment(environment);
    const use = { secrets: given.secrets ?? [], environment: environment ?? {} };
    if (before === undefined || changesSecrets(before, use)) this.#deps.secrets.check(use);
    checkSettings(settingsAtCreation(given, MOST_HELPFUL));
    if (before?.image !== image) parseImageReference(image);
  }

  /** Asks the engine for the image and for what the settings need; the image's labels are defaults for settings. */
  async prepare(body: CreateFunction, { before, find, watcher }: Preparing): Promise<FunctionTarget> {
    const { environment, name: _name, image, ...given } = body;
    // Before the image is pulled.
    await this.#deps.runner.settings.check(othersThan(before, given));
    const kept = before?.image === image && find !== "refresh" ? before : undefined;
    const resolved = kept === undefined ? await this.#find(find, image, given, watcher) : undefined;
    const labels =
      kept === undefined
        ? resolved && (await this.#deps.runner.images.settings(image, resolved))
        : await this.labelsOf(kept);
    // What the labels of an image could say that is not known (any more) stays; an image that is only looked for has none.
    const settings = settingsAtCreation(given, labels ?? (kept === undefined ? {} : labelSettings(kept)));
    checkSettings(settings);
    await this.#deps.runner.settings.check(othersThan(before, { ...labels, ...given }));
    if (kept !== undefined && (!same(kept, settings, "entrypoint") || !same(kept, settings, "command"))) {
      await this.#deps.runner.images.checkCommand({ ...kept, ...settings });
    }
    return { image, environment: environment ?? {}, settings, resolved };
  }

  /**
   * What the labels of a function's image say about settings; undefined where the engine has lost the image, nobody knows
   * it yet, or it was taken before there were such labels, and has wrong ones.
   */
  async labelsOf({ image, image_id }: Function): Promise<Partial<Settings> | undefined> {
    const config = image_id === null ? undefined : await this.#deps.runner.images.config(image_id);
    try {
      return config && settingsOfLabels(image, config.labels);
    } catch (error) {
      if (error instanceof AppError && error.reason === "image_invalid") return undefined;
      throw error;
    }
  }

  #find(
    find: Finding,
    image: string,
    own: Partial<Settings>,
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

/** Whether a function would be given other secrets, or have other variables beside them. */
export function changesSecrets(
  before: Pick<Function, "secrets" | "environment">,
  after: Pick<Function, "secrets" | "environment">,
): boolean {
  return !Bun.deepEquals([before.secrets, before.environment], [after.secrets, after.environment]);
}

/** Those settings that a function does not have as they are: only of them the engine is asked. */
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
