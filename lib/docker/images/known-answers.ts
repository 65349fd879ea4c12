/** Answers that take the engine a while, by their keys: each is asked for once, or again if that failed. */
export class KnownAnswers<T> {
  readonly #most: number;
  readonly #known = new Map<string, Promise<T>>();

  /** Remembers so many answers at most. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Returns the answer with this key. Throws what `ask` throws, and so do all that wait for the same answer. */
  get(key: string, ask: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#most) this.#known.clear();
    const asked = ask();
    this.#known.set(key, asked);
    asked.catch(() => this.#known.delete(key));
    return asked;
  }
}
