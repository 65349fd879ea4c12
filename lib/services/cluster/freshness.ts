import { AppError } from "../../domain/errors.ts";
import type { CatchUp } from "../../store/cluster/catch-up.ts";

/**
 * Lets a request see what was written by earlier ones, also if they went to other servers of the database. A call does not ask for that
 * unless it names something that is not known here.
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

  /** The same for a request whose key is unknown, or whatever else it names. */
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
