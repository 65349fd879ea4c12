/** What all instances together may take, or some of them do. */
export interface Limits {
  readonly instances: number;
  readonly memory_bytes: number;
}

/** Room that an instance holds until it is given back, which only counts once. */
export type Room = () => void;

const NOTHING: Limits = { instances: 0, memory_bytes: 0 };

/** Keeps count of what the instances take: never more of them, and never more memory, than the machine can hold. */
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

  /** Whether an instance with so much memory could ever be had. */
  allows(memoryBytes: number): boolean {
    return memoryBytes <= this.#limits.memory_bytes && this.#limits.instances > 0;
  }

  /** Whether there is room for an instance, or would be once `freed` was given back. */
  fits(memoryBytes: number, freed = NOTHING): boolean {
    return (
      this.#instances - freed.instances < this.#limits.instances &&
      this.#memoryBytes - freed.memory_bytes + memoryBytes <= this.#limits.memory_bytes
    );
  }

  /** Room for an instance, or nothing where there is none now. */
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
