import type { Function } from "../domain/functions.ts";
import type { Launcher } from "./launcher.ts";
import type { Instance } from "./instance.ts";

interface Holder {
  readonly instance: Promise<Instance>;
}

const NEVER = new AbortController().signal;

/**
 * Containers that do nothing but hold a network namespace which the instances of one function join (`share_network`):
 * the engine sets up a namespace with a bridge once, and not for every instance. A holder is an instance whose gate is
 * never called, so it dies with the server as all of them do.
 */
export class NetworkHolders {
  readonly #launcher: Launcher;
  readonly #onLost: (functionId: string) => void;
  readonly #holders = new Map<string, Holder>();

  /** `onLost` is told of a function whose holder is gone: its instances have lost their network. */
  constructor(launcher: Launcher, onLost: (functionId: string) => void) {
    this.#launcher = launcher;
    this.#onLost = onLost;
  }

  /** What a new instance of a function is to have as its network. */
  async networkFor(fn: Function): Promise<string> {
    if (!fn.share_network) return "bridge";
    const holder = this.#holders.get(fn.id) ?? this.#hold(fn);
    try {
      return `container:${(await holder.instance).containerId}`;
    } catch (error) {
      this.#forget(fn.id, holder);
      throw error;
    }
  }

  /** Lets a function's holder go, with the last of its instances. */
  release(functionId: string): void {
    const holder = this.#holders.get(functionId);
    if (holder === undefined) return;
    this.#holders.delete(functionId);
    holder.instance.then((instance) => instance.retire()).catch(() => undefined); // it never came to be
  }

  #hold(fn: Function): Holder {
    const holder: Holder = { instance: this.#launcher.launch(fn, NEVER) };
    this.#holders.set(fn.id, holder);
    holder.instance
      .then(({ retired }) => retired)
      .then(() => this.#forget(fn.id, holder) && this.#onLost(fn.id))
      .catch(() => undefined); // whoever waits for the network is told
    return holder;
  }

  #forget(functionId: string, holder: Holder): boolean {
    return this.#holders.get(functionId) === holder && this.#holders.delete(functionId);
  }
}
