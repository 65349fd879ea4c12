import type { Function } from "../domain/functions.ts";
import type { Instance } from "./instance.ts";
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
  /** The function that it was made for, as it was then. */
  readonly function: Function;
  /** Instances that are in its network, or are being started in it. */
  users: number;
  /** No instance is to join it any more: it goes with the last that did. */
  dismissed: boolean;
}

/** Fields of a function that its holder is made from and that its instances could not do with otherwise. */
const SHAPE = ["image_id", "network", "runtime"] as const;

const NEVER = new AbortController().signal;

/**
 * Containers that do nothing but hold a network namespace which the instances of one function join (`share_network`):
 * the engine sets up a namespace with a bridge once, and not for every instance. A holder is an instance whose gate is
 * never called, so it dies with the server as all of them do. It outlives its instances as long as the function has a
 * pool, and goes before that only where the function shares no network any more, or has another network, runtime or image: an
 * image that runs cannot be removed.
 */
export class NetworkHolders {
  readonly #launcher: HolderLauncher;
  readonly #onLost: (functionId: string) => void;
  readonly #holders = new Map<string, Holder>();

  /** `onLost` is told of a function whose holder is gone: its instances have lost their network. */
  constructor(launcher: HolderLauncher, onLost: (functionId: string) => void) {
    this.#launcher = launcher;
    this.#onLost = onLost;
  }

  /** Starts an instance of a function in the network that it is to have. */
  async join<I extends Joining>(fn: Function, start: (network: string) => Promise<I>): Promise<I> {
    if (!fn.share_network) return start(fn.network);
    const holder = this.#holders.get(fn.id) ?? this.#hold(fn);
    holder.users++;
    try {
      const instance = await start(`container:${await this.#idOf(fn, holder)}`);
      void instance.retired.then(() => this.#left(holder));
      return instance;
    } catch (error) {
      this.#left(holder);
      throw error;
    }
  }

  /** A function was changed: a holder that is not for it as it is now lets no other instance join. */
  update(fn: Function): void {
    const holder = this.#holders.get(fn.id);
    const changed = holder && SHAPE.some((field) => fn[field] !== holder.function[field]);
    if (changed || !fn.share_network) this.release(fn.id);
  }

  /** Lets a function's holder go, with the last of its instances. */
  release(functionId: string): void {
    const holder = this.#holders.get(functionId);
    if (holder === undefined) return;
    this.#holders.delete(functionId);
    holder.dismissed = true;
    this.#letGo(holder);
  }

  async #idOf(fn: Function, holder: Holder): Promise<string> {
    try {
      return (await holder.instance).containerId;
    } catch (error) {
      this.#forget(fn.id, holder);
      throw error;
    }
  }

  #hold(fn: Function): Holder {
    const instance = this.#launcher.launch(fn, NEVER);
    const holder: Holder = { instance, function: fn, users: 0, dismissed: false };
    this.#holders.set(fn.id, holder);
    instance
      .then(({ retired }) => retired)
      .then(() => this.#forget(fn.id, holder) && this.#onLost(fn.id))
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

  #forget(functionId: string, holder: Holder): boolean {
    return this.#holders.get(functionId) === holder && this.#holders.delete(functionId);
  }
}
