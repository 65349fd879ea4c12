import { AppError } from "../../domain/errors.ts";
import type { CatchUp } from "../../store/cluster/catch-up.ts";

/**
 * Lets a request see what earlier ones have written, also those that went to other servers of the database. A call asks for that only if
 * it names something that is not known here.
 */
export class Freshness {
  readonly #catchUp: CatchUp | null;

  /** Null for a server that has its database for itself. */
  constructor(catchUp: CatchUp | null) {
    this.#catchUp = catchUp;
  }

  /** True if other servers may have changed something. */
  get isShared(): boolean {
    return this.#catchUp !== null;
  }

  /** Settles when what was written before can be read here. */
  async now(): Promise<void> {
    await this.#catchUp?.now();
  }

  /** The same for a request that names something unknown here, such as its key. */
  async forUnknown(): Promise<void> {
    await this.#catchUp?.forUnknown();
  }

  /** Returns what `look` does; if that throws `not_found`, it looks again with the changes of other servers. */
  find<T>(look: () => T | Promise<T>): T | Promise<T> {
    return this.#catchUp === null ? look() : this.#findShared(look, this.#catchUp);
  }

  async #findShared<T>(look: () => T | Promise<T>, catchUp: CatchUp): Promise<T> {
    try {
      return await look();
    } catch (error) {
      if (!(error instanceof AppError && error.reason === "not_found")) throw error;
    }
    await catchUp.forUnknown();
    return look();
  }
}
