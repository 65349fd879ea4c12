/** The time that a database has to answer the simplest question, in milliseconds. */
const ANSWER_MS = 1_500;

/** A connection that answers one question. */
interface Line {
  readonly ask: () => Promise<unknown>;
  readonly close: () => Promise<void>;
}

/**
 * Asks a database by a connection of its own whether it answers at all. The driver waits without end for one that is frozen, or
 * behind a network that drops everything; a slow statement is no sign of that.
 */
export class Pulse implements AsyncDisposable {
  readonly #connect: () => Line;
  #line: Line | undefined;
  #asking: Promise<boolean> | undefined;

  constructor(connect: () => Line) {
    this.#connect = connect;
  }

  /** Returns whether the database answers, an error included. All who ask at the same time share one question. */
  isThere(): Promise<boolean> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#line?.close();
  }

  async #ask(): Promise<boolean> {
    const line = (this.#line ??= this.#connect());
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    // If this process was what did not run, the answer is there by now: it is read first.
    const timer = setTimeout(() => setImmediate(() => resolve(false)), ANSWER_MS);
    const asked = line.ask().then(
      () => true,
      () => true,
    );
    const isThere = await Promise.race([asked, late]);
    clearTimeout(timer);
    if (!isThere) {
      this.#line = undefined;
      void line.close().catch(() => undefined);
    }
    return isThere;
  }
}
