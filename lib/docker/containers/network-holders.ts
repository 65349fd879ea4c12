import type { Function } from "../../domain/functions/functions.ts";
import type { ContainerChannel } from "./container-channel.ts";
import type { Launcher } from "./launcher.ts";

/** The parts of a channel that matter for a container in a network, and for the one that holds it. */
type Joining = Pick<ContainerChannel, "closed">;
type Holding = Pick<ContainerChannel, "id" | "closed" | "close">;

/** Starts the containers that hold a network. */
interface HolderLauncher {
  launchHolder(...fn: Parameters<Launcher["launchHolder"]>): Promise<Holding>;
}

interface Holder {
  readonly channel: Promise<Holding>;
  /** Containers that are in its network, or are being started in it. */
  users: number;
  /** True if no other container will join it: it ends with the last one that did. */
  dismissed: boolean;
}

const NEVER = new AbortController().signal;

/**
 * Keeps containers that only hold a network namespace, which the containers of one group join (`share_network`): the
 * engine sets up a namespace with a bridge once, and not for every container. The gate of a holder is never called, and
 * the holder dies with the server as all containers do. It is made from the function of the first container that joins,
 * whose image, network and runtime the whole group has, and lives until the group is released.
 */
export class NetworkHolders {
  readonly #launcher: HolderLauncher;
  readonly #onLost: (group: string) => void;
  readonly #holders = new Map<string, Holder>();

  /** Calls `onLost` for a group whose holder has ended: its containers have lost their network. */
  constructor(launcher: HolderLauncher, onLost: (group: string) => void) {
    this.#launcher = launcher;
    this.#onLost = onLost;
  }

  /** Starts a container in the network that its group shares; the first one brings the container that holds it. */
  async join<C extends Joining>(group: string, fn: Function, start: (network: string) => Promise<C>): Promise<C> {
    const holder = this.#holders.get(group) ?? this.#hold(group, fn);
    holder.users++;
    try {
      const channel = await start(`container:${await this.#idOf(group, holder)}`);
      void channel.closed.then(() => this.#left(holder));
      return channel;
    } catch (error) {
      this.#left(holder);
      throw error;
    }
  }

  /** Ends a group's holder when the last container of the group has ended. */
  release(group: string): void {
    const holder = this.#holders.get(group);
    if (holder === undefined) return;
    this.#holders.delete(group);
    holder.dismissed = true;
    this.#endIfUnused(holder);
  }

  async #idOf(group: string, holder: Holder): Promise<string> {
    try {
      return (await holder.channel).id;
    } catch (error) {
      this.#forget(group, holder);
      throw error;
    }
  }

  #hold(group: string, fn: Function): Holder {
    const channel = this.#launcher.launchHolder(fn, NEVER);
    const holder: Holder = { channel, users: 0, dismissed: false };
    this.#holders.set(group, holder);
    channel
      .then(({ closed }) => closed)
      .then(() => this.#forget(group, holder) && this.#onLost(group))
      .catch(() => undefined); // the callers that wait for the network get the error
    return holder;
  }

  #left(holder: Holder): void {
    holder.users--;
    this.#endIfUnused(holder);
  }

  #endIfUnused(holder: Holder): void {
    if (!holder.dismissed || holder.users > 0) return;
    holder.channel.then((channel) => channel.close()).catch(() => undefined); // it was never started
  }

  #forget(group: string, holder: Holder): boolean {
    return this.#holders.get(group) === holder && this.#holders.delete(group);
  }
}
