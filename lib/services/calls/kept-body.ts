/** The memory that bodies are kept in. */
export interface KeptMemory {
  /** Counts so many bytes; the returned function ends that. */
  hold(bytes: number): () => void;
}

/** A copy of a body that passes, up to a limit: one that is longer is not kept at all. */
export class KeptBody implements Disposable {
  readonly #limit: number;
  readonly #memory: KeptMemory;
  readonly #releases: (() => void)[] = [];
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #state: "open" | "whole" | "dropped" = "open";

  constructor(limitBytes: number, memory: KeptMemory) {
    this.#limit = limitBytes;
    this.#memory = memory;
  }

  /** All of it; null unless it came to its end within the limit. */
  get whole(): Uint8Array | null {
    return this.#state === "whole" ? Buffer.concat(this.#pieces) : null;
  }

  add(piece: Uint8Array): void {
    if (this.#state !== "open") return;
    this.#bytes += piece.length;
    if (this.#bytes > this.#limit) return this.#drop();
    // A copy: a short piece may be a part of a large buffer.
    this.#pieces.push(piece.slice());
    this.#releases.push(this.#memory.hold(piece.length));
  }

  /** Notes that there is no more of it. */
  end(): void {
    if (this.#state === "open") this.#state = "whole";
  }

  [Symbol.dispose](): void {
    this.#drop();
  }

  #drop(): void {
    this.#state = "dropped";
    this.#pieces = [];
    for (const release of this.#releases.splice(0)) release();
  }
}
