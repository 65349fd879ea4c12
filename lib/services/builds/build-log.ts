import { BUILD_LOG_BYTES } from "../../domain/limits.ts";

/** The output of a build: the last part of it, and where that begins. */
export interface StoredOutput {
  /** The number of characters before it that were dropped. */
  readonly start: number;
  readonly text: string;
}

/** The output of a build, from its end backwards as far as the limit goes: a failure is told at the end. */
export class BuildLog implements StoredOutput {
  #start: number;
  #text: string;

  constructor({ start, text }: StoredOutput = { start: 0, text: "" }) {
    this.#start = start;
    this.#text = text;
  }

  get start(): number {
    return this.#start;
  }

  get text(): string {
    return this.#text;
  }

  /** The position after the last character. */
  get end(): number {
    return this.#start + this.#text.length;
  }

  add(text: string): void {
    this.#text += text;
    const surplus = this.#text.length - BUILD_LOG_BYTES;
    if (surplus <= 0) return;
    // More than needed, so that this is seldom; from the beginning of a line.
    const cut = this.#text.indexOf("\n", surplus + BUILD_LOG_BYTES / 8) + 1 || surplus;
    this.#start += cut;
    this.#text = this.#text.slice(cut);
  }

  /** Returns what comes after a position. */
  after(position: number): string {
    return this.#text.slice(Math.max(0, position - this.#start));
  }
}

/** Reads what the store has of a build's output. */
export function storedLog(stored: string | undefined): BuildLog {
  // Only this file's own form is stored.
  return stored === undefined ? new BuildLog() : new BuildLog(JSON.parse(stored) as StoredOutput);
}

/** Returns the output of a build for the store. */
export function toStored({ start, text }: StoredOutput): string {
  return JSON.stringify({ start, text });
}
