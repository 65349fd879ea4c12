/** Instances and their memory: the most that there may be, or the sum of some. */
export interface Limits {
  readonly instances: number;
  readonly memory_bytes: number;
}

/** The room of an instance. Calling it gives the room back; only the first call counts. */
export type Room = () => void;

const NOTHING: Limits = { instances: 0, memory_bytes: 0 };

/** The used part of something that is limited, and the limit. */
interface Budget {
  readonly used: number;
  readonly limit: number;
}

/** Counts instances and their memory, so that there are never more than the machine can hold. */
export class Capacity {
  readonly #limits: Limits;
  #instances = 0;
  #memoryBytes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get instances(): number {
    return this.#instances;
  }

  /** The places and memory that are taken, and the limits of both. */
  get budgets(): { readonly instances: Budget; readonly memory_bytes: Budget } {
    return {
      instances: { used: this.#instances, limit: this.#limits.instances },
      memory_bytes: { used: this.#memoryBytes, limit: this.#limits.memory_bytes },
    };
  }

  /** Returns whether there could ever be an instance with so much memory. */
  allows(memoryBytes: number): boolean {
    return memoryBytes <= this.#limits.memory_bytes && this.#limits.instances > 0;
  }

  /** Returns whether there is room for an instance, or would be after `freed` was given back. */
  fits(memoryBytes: number, freed = NOTHING): boolean {
    return (
      this.#instances - freed.instances < this.#limits.instances &&
      this.#memoryBytes - freed.memory_bytes + memoryBytes <= this.#limits.memory_bytes
    );
  }

  /** Takes room for an instance, or returns nothing if there is none now. */
  take(memoryBytes: number): Room | undefined {
    if (!this.fits(memoryBytes)) return undefined;
    this.#instances++;
    this.#memoryBytes += memoryBytes;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#instances--;
      this.#memoryBytes -= memoryBytes;
    };
  }
}
