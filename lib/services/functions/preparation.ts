import type { Clock } from "../../clock.ts";
import { checkEnvironment } from "../../domain/environment.ts";
import { contractOf, isBooted } from "../../domain/functions/contract.ts";
import {
  cellsToCheck,
  checkSettings,
  fullSettings,
  settingsAfterChange,
  settingsAtCreation,
} from "../../domain/functions/rules.ts";
import { type Settings, SETTINGS } from "../../domain/functions/settings.ts";
import {
  type CreateFunction,
  type Function,
  FUNCTION_DEFAULTS,
  type Origins,
} from "../../domain/functions/functions.ts";
import { LABEL_SETTINGS } from "../../domain/images/labels.ts";
import { timestamp } from "../../domain/types.ts";
import { parseImageReference } from "../../domain/images/reference.ts";
import { COLLECTED_TIMEOUT_MS, MEMORY_BYTES, WARM_MAX } from "../../domain/limits.ts";
import type { FunctionTarget } from "../../domain/manifest/plan.ts";
import type { PullWatcher } from "../../domain/images/pull-progress.ts";
import type { KnownFunction, PlatformImages, ResolvedImage } from "../../runner/platform.ts";
import type { Runner } from "../../runner/runner.ts";
import type { SecretService } from "../secrets/secrets.ts";
import {
  type ContractChange,
  type ContractConsequences,
  contractAfterChange,
  mayChangeContract,
} from "./contract-change.ts";
import { type Choice, chooseContract, settingsOfSignals, type TrialBoot, unlessInvalid } from "./contract-choice.ts";

/** The ways to find an image: pull it if it is missing, pull it again, or only look whether it exists. */
type Finding = "resolve" | "refresh" | "look";

/** The part of the runner that knows what the engine has. */
export interface EngineKnowledge {
  readonly images: Omit<PlatformImages, "restore">;
  readonly check: Runner["check"];
  /** Shows whether an image that exposes a port is a server. */
  readonly trialBoot?: TrialBoot;
}

interface Preparing {
  /** The function that is to be changed; it keeps its image if the reference is the same, unless it is pulled again. */
  readonly before?: Function | undefined;
  readonly find: Finding;
  readonly watcher?: PullWatcher | undefined;
}

// Object.keys forgets the type of the keys.
const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof Settings)[];

interface ChoosingOptions {
  readonly before: Function | undefined;
  readonly kept: Function | undefined;
  readonly resolved: ResolvedImage | undefined;
  /** True if the image may be started in a trial. */
  readonly mayTry: boolean;
}

interface PreparationDeps {
  readonly clock: Pick<Clock, "now" | "uuid">;
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
    const { environment, name: _name, probe: _probe, image, ...settings } = body;
    const given = fullSettings(settings);
    if (environment) checkEnvironment(environment);
    const use = { secrets: given.secrets ?? [], environment: environment ?? {} };
    if (before === undefined || changesSecrets(before, use)) this.#deps.secrets.check(use);
    checkSettings(settingsAtCreation(given, mostHelpfulImage(given)));
    if (before?.image !== image) parseImageReference(image);
  }

  /** Finds the image and checks the settings with the engine; the image's labels are defaults for settings. */
  async prepare(body: CreateFunction, { before, find, watcher }: Preparing): Promise<FunctionTarget> {
    const { environment, name: _name, probe: _probe, image, ...others } = body;
    const given = fullSettings(others);
    // Before the image is pulled.
    await this.#deps.runner.check(othersThan(before, given));
    const kept = before?.image === image && find !== "refresh" ? before : undefined;
    const resolved =
      kept === undefined
        ? await this.#find(
            find,
            image,
            { ...given, image_id: before?.image_id ?? null, digest: before?.digest ?? null },
            watcher,
          )
        : undefined;
    const target = { image, environment: environment ?? {} };
    const choice = await this.#choose(target, given, { before, kept, resolved, mayTry: find !== "look" });
    // If the image is not (or no longer) known, the settings that it could give stay; one that was not found has none.
    const ofImage = choice?.ofImage ?? (kept === undefined ? unknownImage(before, given) : labelSettings(kept));
    const settings = settingsAtCreation(given, ofImage);
    checkSettings(settings);
    const { contract: _contract, port: _port, ...labels } = choice?.ofImage ?? {};
    const asked = {
      ...othersThan(before, { ...labels, ...given, ...networkOf(settings) }),
      ...cellsToCheck(before, settings),
    };
    await this.#deps.runner.check(asked, (kept ?? resolved)?.image_id);
    if (kept !== undefined && (!same(kept, settings, "entrypoint") || !same(kept, settings, "command"))) {
      await this.#deps.runner.images.checkCommand({ ...kept, ...settings });
    }
    const origins = choice?.origins ?? originsWithoutImage(kept, given, settings);
    return { ...target, settings, origins, resolved, ...(choice?.warning && { warning: choice.warning }) };
  }

  /**
   * Returns the settings that a function's image gives, its contract only if it says so itself; undefined if the engine has lost
   * the image, if it is not known yet, or if it was registered before its labels were read, and has invalid ones.
   */
  async settingsOfImage(fn: Function): Promise<Partial<Settings> | undefined> {
    const signals = fn.image_id === null ? undefined : await this.#deps.runner.images.signals(fn.image_id);
    return signals && unlessInvalid(() => settingsOfSignals(signals, fn));
  }

  /**
   * Returns what follows from a change for a function's contract and its port, and checks with the engine what that needs. May
   * start the function in a trial.
   */
  async afterChange(before: Function, change: ContractChange): Promise<ContractConsequences> {
    if (!mayChangeContract(before, change)) return { changes: {} };
    const { runner } = this.#deps;
    const image_id = change.resolved?.image_id ?? before.image_id;
    const signals = image_id === null ? undefined : await runner.images.signals(image_id);
    const consequences = await contractAfterChange(before, change, {
      signals,
      trialBoot: runner.trialBoot?.bind(runner),
    });
    const after = { ...before, ...settingsAfterChange(before, { ...change.given, ...consequences.changes }) };
    checkSettings(after);
    if (after.contract !== before.contract) await runner.check(othersThan(before, networkOf(after)));
    return consequences;
  }

  /** Chooses the contract; undefined if nothing is known of the image, as with `settingsOfImage`. */
  async #choose(
    target: Pick<Function, "image" | "environment">,
    given: Partial<Settings>,
    { before, kept, resolved, mayTry }: ChoosingOptions,
  ): Promise<Choice | undefined> {
    const image_id = (kept ?? resolved)?.image_id ?? null;
    const signals = image_id === null ? undefined : await this.#deps.runner.images.signals(image_id);
    if (signals === undefined || (kept !== undefined && (await this.settingsOfImage(kept)) === undefined))
      return undefined;
    const now = timestamp(this.#deps.clock.now());
    const record = { ...FUNCTION_DEFAULTS, ...target, id: this.#deps.clock.uuid(), created_at: now, updated_at: now };
    const candidate = (ofImage: Partial<Settings>): Function => ({
      ...record,
      ...settingsAtCreation(given, ofImage),
      image_id,
      digest: resolved?.digest ?? null,
    });
    return chooseContract(
      { ...target, signals, given, kept, likely: before?.contract, with: mayTry ? candidate : undefined },
      this.#deps.runner.trialBoot?.bind(this.#deps.runner),
    );
  }

  #find(find: Finding, image: string, own: KnownFunction, watcher?: PullWatcher): Promise<ResolvedImage | undefined> {
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

/** Returns what an image can give at best: settings that are wrong with this are wrong with any image. */
function mostHelpfulImage(given: Partial<Settings>): Partial<Settings> {
  const { timeout_ms = 0, isolation = "container" } = given;
  const long = isolation === "container" ? "http" : "files"; // a server has a container of its own
  const contract = contractOf(given) ?? (timeout_ms > COLLECTED_TIMEOUT_MS ? long : "stdio");
  return { contract, memory_bytes: MEMORY_BYTES.max, warm_max: WARM_MAX.max };
}

/** Returns what an image that was not found may well give, so that a dry run can go on without it. */
function unknownImage(before: Function | undefined, given: Partial<Settings>): Partial<Settings> {
  return { contract: before?.contract ?? contractOf(given) ?? "files" };
}

/** Returns the origins of settings where nothing is known of the image: what is not given is as it was. */
function originsWithoutImage(kept: Function | undefined, given: Partial<Settings>, settings: Settings): Origins {
  const { contract_reason, port_reason, extra_ports } = kept ?? FUNCTION_DEFAULTS;
  const isServer = settings.contract === "http";
  return {
    contract_reason: given.contract === undefined ? contract_reason : "setting",
    port_reason: !isServer ? null : typeof given.port === "number" ? "setting" : (port_reason ?? "default"),
    extra_ports: isServer ? extra_ports : [],
  };
}

/** Returns the network of what is started before its calls: the engine is asked for it also where nobody has named it. */
function networkOf({ contract, network }: Settings): Partial<Settings> {
  return isBooted(contract) ? { network } : {};
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
