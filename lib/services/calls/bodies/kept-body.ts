import { CollectedBytes } from "../../../domain/calls/collected-bytes.ts";

/** The memory that bodies are kept in. */
export interface KeptMemory {
  /** Counts so many bytes; the returned function ends that. */
  hold(bytes: number): () => void;
}

/** A copy of a body that passes, up to a limit: one that is longer is not kept at all. */
export class KeptBody implements Disposable {
  readonly #limit: number;
  readonly #memory: KeptMemory;
  readonly #bytes = new CollectedBytes();
  #release: () => void = () => undefined;
  #state: "open" | "whole" | "dropped" = "open";

  constructor(limitBytes: number, memory: KeptMemory) {
    this.#limit = limitBytes;
    this.#memory = memory;
  }

  /** All of it; null unless it came to its end within the limit. */
  get whole(): Uint8Array | null {
    return this.#state === "whole" ? this.#bytes.all : null;
  }

  add(piece: Uint8Array): void {
    if (this.#state !== "open") return;
    if (this.#bytes.length + piece.length > this.#limit) return this.#drop();
    this.#bytes.add(piece);
    this.#release();
    this.#release = this.#memory.hold(this.#bytes.length);
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
    this.#bytes.take();
    this.#release();
    this.#release = () => undefined;
  }
}
