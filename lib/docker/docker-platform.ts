import type { Clock } from "../clock.ts";
import { TaskGroup } from "../domain/concurrency.ts";
import type { EngineAddress } from "../domain/engine-address.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { Settings } from "../domain/functions/settings.ts";
import type { Pulled, RenamedImage } from "../domain/images/pulled-images.ts";
import type { RegistryCredentials } from "../domain/images/registries.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Unowned } from "../domain/system/system.ts";
import type { CurrentCredentials, KnownThings, Platform, PlatformListener } from "../runner/platform.ts";
import { EngineConnection } from "./api/connection.ts";
import { Containers } from "./api/containers.ts";
import { EngineEvents } from "./api/events.ts";
import { Images } from "./api/images.ts";
import { Networks } from "./api/networks.ts";
import { checkCredentials } from "./api/registry-auth.ts";
import { engineArchitecture } from "./api/system.ts";
import { ImageBuilds } from "./builds/image-builds.ts";
import type { ContainerChannel } from "./containers/container-channel.ts";
import { gateBinary } from "./containers/gate-binary.ts";
import { GateVolume } from "./containers/gate-volume.ts";
import { ImageGoneError, Launcher } from "./containers/launcher.ts";
import { NetworkHolders } from "./containers/network-holders.ts";
import { OpenFiles } from "./containers/open-files.ts";
import { OwnContainers } from "./containers/own-containers.ts";
import { SettingsCheck } from "./containers/settings-check.ts";
import { Sweep } from "./containers/sweep.ts";
import { EngineIdentity } from "./engine-identity.ts";
import { ImageResolver } from "./images/image-resolver.ts";
import { OwnImages } from "./images/own-images.ts";
import type { SharedImages } from "./images/shared-images.ts";
import { listUnowned } from "./unowned/unowned.ts";
import { IsolatedNetwork } from "./networks/isolated-network.ts";

export interface DockerPlatformOptions {
  /** The id of this database, which our containers carry as a label. */
  readonly owner: string;
  readonly engine: EngineAddress;
  /** Limits a request to the engine, and the time until a container has come up. */
  readonly engine_timeout_ms: number;
  readonly pull_timeout_ms: number;
  /** The volume that brings the gate into containers. */
  readonly context_name: string;
  /** The part of CONTEXT_PATH before the id. */
  readonly context_path: string;
  readonly credentialsFor: (host: string) => CurrentCredentials | undefined;
  /** Returns the credentials of all registries that can be opened. */
  readonly allCredentials: () => readonly RegistryCredentials[];
  /** The most bytes of a build's context when it is unpacked, and the time that its build may take. */
  readonly build_bytes: number;
  readonly build_timeout_ms: number;
  /** Called with what each pull has done on the engine. */
  readonly onPulled: (pulled: Pulled) => Promise<void>;
  /** Returns the names that pulls of this server gave an image, in full. */
  readonly pulledNames: (imageId: string) => readonly string[];
  /** Called when the engine has an image under another id than before: it has changed its image store. */
  readonly onImageRenamed: (renamed: RenamedImage) => Promise<void>;
  /** Null if this server has its functions for itself. */
  readonly shared: SharedImages | null;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** The wait for the removal of our network when the server stops. If the engine hangs, `slipway sweep` removes it. */
const LAST_NETWORK_MS = 2_000;

const NOBODY: PlatformListener = {
  onAvailable: () => undefined,
  onGroupLost: () => undefined,
  onSwept: () => undefined,
};

/** Runs instances as containers of a Docker Engine, or of another engine with its API. */
export class DockerPlatform implements Platform {
  readonly health: EngineEvents;
  readonly images: ImageResolver;
  readonly inventory: OwnImages;
  readonly builder: ImageBuilds;
  readonly #identity: EngineIdentity;
  readonly #clock: Clock;
  readonly #containers: Containers;
  readonly #options: Pick<DockerPlatformOptions, "owner" | "context_name">;
  readonly #connection: EngineConnection;
  readonly #own: OwnContainers;
  readonly #isolated: IsolatedNetwork;
  readonly #launcher: Launcher;
  readonly #holders: NetworkHolders;
  readonly #settings: SettingsCheck;
  readonly #sweep: Sweep;
  #listener = NOBODY;

  constructor(options: DockerPlatformOptions) {
    const { owner, clock, log, metrics } = options;
    const address = options.engine;
    const connection = new EngineConnection({ address, timeout_ms: options.engine_timeout_ms, clock, metrics });
    const containers = new Containers(connection);
    this.#clock = clock;
    this.#containers = containers;
    this.#options = options;
    this.#connection = connection;
    this.#identity = new EngineIdentity(connection, log);
    this.health = new EngineEvents({
      connection,
      owner,
      clock,
      log,
      onConnected: () => {
        this.#listener.onAvailable();
        if (options.shared !== null) void this.#identity.ask();
        return this.#sweep.run();
      },
      onCreated: (container) => this.#own.noteCreated(container),
    });
    const events = this.health;
    this.#own = new OwnContainers({ containers, events, clock, log });
    this.#settings = new SettingsCheck(connection, {
      gate_volume: options.context_name,
      context_root: options.context_path,
    });
    this.#isolated = new IsolatedNetwork({ networks: new Networks(connection), owner, log });
    const images = new Images({ connection, clock, pull_timeout_ms: options.pull_timeout_ms });
    this.inventory = new OwnImages({ images, onPulled: options.onPulled, log });
    this.images = new ImageResolver({
      images,
      own: this.inventory,
      metrics,
      log,
      clock,
      credentialsFor: options.credentialsFor,
      pulledNames: options.pulledNames,
      onRenamed: options.onImageRenamed,
      shared: options.shared,
    });
    this.builder = new ImageBuilds({
      connection,
      images,
      containers,
      owner,
      context_bytes: options.build_bytes,
      timeout_ms: options.build_timeout_ms,
      credentials: options.allCredentials,
      clock,
      log,
    });
    this.#launcher = this.#createLauncher(options, containers);
    this.#holders = new NetworkHolders(this.#launcher, (group) => this.#listener.onGroupLost(group));
    this.#sweep = new Sweep({
      containers,
      own_containers: this.#own,
      events,
      owner,
      onClean: () => this.#listener.onSwept(),
      clock,
      log,
    });
  }

  get identity(): string | null {
    return this.#identity.id;
  }

  start(listener: PlatformListener): void {
    this.#listener = listener;
    this.health.start();
    this.#sweep.start();
  }

  /** Starts a container; an image that the engine does not have is pulled by its digest, once. */
  async launch(fn: Function, group: string, signal: AbortSignal): Promise<ContainerChannel> {
    const start = (as: Function): Promise<ContainerChannel> => {
      if (!as.share_network) return this.#launcher.launch(as, signal);
      return this.#holders.join(group, as, (network) => this.#launcher.launch(as, signal, network));
    };
    try {
      return await start({ ...fn, image_id: fn.image_id && this.images.ownId(fn.image_id) });
    } catch (error) {
      if (!(error instanceof ImageGoneError)) throw error;
      return start({ ...fn, image_id: (await this.images.bring(fn)).own_id });
    }
  }

  release(group: string): void {
    this.#holders.release(group);
  }

  check(settings: Partial<Settings>): Promise<void> {
    return this.#settings.check(settings);
  }

  checkCredentials(credentials: RegistryCredentials): Promise<void> {
    return checkCredentials(this.#connection, credentials);
  }

  unowned(known: KnownThings): Promise<Unowned[]> {
    const { owner, context_name: gate_volume } = this.#options;
    const owns = (name: string) => this.#own.owns(name);
    const [connection, containers] = [this.#connection, this.#containers];
    return listUnowned({ connection, containers, owns, owner, gate_volume }, known);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sweep[Symbol.dispose]();
    this.#launcher[Symbol.dispose]();
    await this.#own[Symbol.asyncDispose]();
    await this.#removeNetwork();
    await this.health[Symbol.asyncDispose]();
    this.#connection[Symbol.dispose]();
  }

  /** Waits for the network's removal, but not for long if the engine does not answer. */
  async #removeNetwork(): Promise<void> {
    if (this.health.problem !== undefined) return;
    const removal = new TaskGroup();
    void removal.add(this.#isolated.removeAtEnd());
    await removal.settledWithin(this.#clock, LAST_NETWORK_MS);
  }

  #createLauncher(options: DockerPlatformOptions, containers: Containers): Launcher {
    const { owner, clock, log } = options;
    const own_containers = this.#own;
    const gates = new GateVolume({
      containers,
      own_containers,
      owner,
      volume: options.context_name,
      gate: async () => gateBinary(await engineArchitecture(this.#connection)),
    });
    return new Launcher({
      containers,
      own_containers,
      events: this.health,
      images: this.images,
      gates,
      settings: this.#settings,
      isolated: this.#isolated,
      open_files: OpenFiles.of(options.engine),
      clock,
      log,
      owner,
      context_root: options.context_path,
      timeout_ms: options.engine_timeout_ms,
    });
  }
}
