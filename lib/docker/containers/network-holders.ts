import type { Function } from "../../domain/functions/functions.ts";
import type { Instance } from "../../runner/instance/instance.ts";
import type { Launcher } from "./launcher.ts";

/** As much as is to be known of an instance that joins a network, and of one that holds it. */
type Joining = Pick<Instance, "retired">;
type Holding = Pick<Instance, "containerId" | "retired" | "retire">;

/** What makes the containers that hold a network. */
export interface HolderLauncher {
  launch(...fn: Parameters<Launcher["launch"]>): Promise<Holding>;
}

interface Holder {
  readonly instance: Promise<Holding>;
  /** Instances that are in its network, or are being started in it. */
  users: number;
  /** No instance is to join it any more: it goes with the last that did. */
  dismissed: boolean;
}

const NEVER = new AbortController().signal;

/**
 * Containers that do nothing but hold a network namespace which the instances of one pool join (`share_network`):
 * the engine sets up a namespace with a bridge once, and not for every instance. A holder is an instance whose gate is
 * never called, so it dies with the server as all of them do. It outlives its instances as long as there is the pool,
 * whose function's image, network and runtime are its own.
 */
export class NetworkHolders {
  readonly #launcher: HolderLauncher;
  readonly #onLost: (pool: string) => void;
  readonly #holders = new Map<string, Holder>();

  /** `onLost` is told of a pool whose holder is gone: its instances have lost their network. */
  constructor(launcher: HolderLauncher, onLost: (pool: string) => void) {
    this.#launcher = launcher;
    this.#onLost = onLost;
  }

  /** Starts an instance of a pool, known by its key, in the network that its function is to have. */
  async join<I extends Joining>(pool: string, fn: Function, start: (network: string) => Promise<I>): Promise<I> {
    if (!fn.share_network) return start(fn.network);
    const holder = this.#holders.get(pool) ?? this.#hold(pool, fn);
    holder.users++;
    try {
      const instance = await start(`container:${await this.#idOf(pool, holder)}`);
      void instance.retired.then(() => this.#left(holder));
      return instance;
    } catch (error) {
      this.#left(holder);
      throw error;
    }
  }

  /** Lets a pool's holder go, with the last of its instances. */
  release(pool: string): void {
    const holder = this.#holders.get(pool);
    if (holder === undefined) return;
    this.#holders.delete(pool);
    holder.dismissed = true;
    this.#letGo(holder);
  }

  async #idOf(pool: string, holder: Holder): Promise<string> {
    try {
      return (await holder.instance).containerId;
    } catch (error) {
      this.#forget(pool, holder);
      throw error;
    }
  }

  #hold(pool: string, fn: Function): Holder {
    const instance = this.#launcher.launch(fn, NEVER);
    const holder: Holder = { instance, users: 0, dismissed: false };
    this.#holders.set(pool, holder);
    instance
      .then(({ retired }) => retired)
      .then(() => this.#forget(pool, holder) && this.#onLost(pool))
      .catch(() => undefined); // whoever waits for the network is told
    return holder;
  }

  #left(holder: Holder): void {
    holder.users--;
    this.#letGo(holder);
  }

  #letGo(holder: Holder): void {
    if (!holder.dismissed || holder.users > 0) return;
    holder.instance.then((instance) => instance.retire()).catch(() => undefined); // it never came to be
  }

  #forget(pool: string, holder: Holder): boolean {
    return this.#holders.get(pool) === holder && this.#holders.delete(pool);
  }
}
