import { AppError } from "../errors.ts";

/** A part of a file of another platform that has no counterpart here, or not all of it. */
export interface Note {
  /** The path to it, such as `functions.figlet.build_args`. */
  readonly path: string;
  readonly problem: string;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * A file of another platform, of which it is known what was read: whatever was not is listed in the end. Nothing can be left out
 * without a word.
 */
export class Source {
  readonly #root: unknown;
  readonly #taken = new Set<string>();
  readonly #noted: Note[] = [];

  constructor(root: unknown) {
    this.#root = root;
  }

  /** Returns the whole file as a part to read. */
  part(): Part {
    return new Part(this, this.#root, []);
  }

  take(path: readonly string[]): void {
    this.#taken.add(keyOf(path));
  }

  note(path: readonly string[], problem: string): void {
    this.#noted.push({ path: shown(path), problem });
  }

  /** Returns what has no counterpart: the notes that were made, and every part that was not read. */
  notes(reasons: (path: string) => string | undefined = () => undefined): Note[] {
    const problemOf = (path: string) => reasons(path) ?? "has no counterpart here";
    const rest = [...this.#rest(this.#root, [])].map((path) => ({
      path: shown(path),
      problem: problemOf(shown(path)),
    }));
    return [...this.#noted, ...rest];
  }

  /** Finds the topmost parts of which nothing was read. */
  *#rest(value: unknown, path: readonly string[]): Generator<readonly string[], undefined> {
    if (this.#taken.has(keyOf(path))) return undefined;
    const begun = path.length === 0 || [...this.#taken].some((taken) => taken.startsWith(`${keyOf(path)}\u0000`));
    const isPart = begun && value !== null && typeof value === "object";
    if (!isPart) yield path;
    else for (const [key, inner] of Object.entries(value)) yield* this.#rest(inner, [...path, key]);
    return undefined;
  }
}

/** A part of a file. What is read of it counts as known. */
export class Part {
  readonly #source: Source;
  readonly #value: unknown;
  readonly #path: readonly string[];

  constructor(source: Source, value: unknown, path: readonly string[]) {
    this.#source = source;
    this.#value = value;
    this.#path = path;
  }

  /** Returns what is at a key, to read parts of it. */
  at(key: string): Part {
    return new Part(this.#source, fieldsOf(this.#value)[key], [...this.#path, key]);
  }

  /** Returns the parts by their keys; of a list, by their numbers. */
  parts(): [string, Part][] {
    return Object.keys(fieldsOf(this.#value)).map((key) => [key, this.at(key)]);
  }

  /** Returns the value, and takes all of it. */
  take(): unknown {
    this.#source.take(this.#path);
    return this.#value;
  }

  /** Returns a text, also of a number or a truth value; undefined if there is none. Throws `invalid_request` for anything else. */
  text(): string | undefined {
    const value = this.take();
    if (value === undefined || value === null) return undefined;
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
    throw this.wrong("a text");
  }

  number(): number | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text);
    throw this.wrong("a number");
  }

  flag(): boolean | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    if (text === "true" || text === "false") return text === "true";
    throw this.wrong("true or false");
  }

  /** Returns a list of texts; one text alone is a list of one. */
  texts(): string[] {
    const value = this.take();
    if (value === undefined || value === null) return [];
    const items: readonly unknown[] = Array.isArray(value) ? value : [value];
    return items.map((item) => {
      if (typeof item === "string" || typeof item === "number" || typeof item === "boolean") return String(item);
      throw this.wrong("a list of texts");
    });
  }

  /** Returns texts by their names, also of a list of `NAME=value`. */
  map(): Record<string, string> {
    const value = this.take();
    if (value === undefined || value === null) return {};
    if (typeof value !== "object") throw this.wrong("a map of texts");
    const pairs: [string, unknown][] = Array.isArray(value)
      ? value.map((item) => pairOf(String(item)))
      : Object.entries(value);
    return Object.fromEntries(pairs.map(([name, one]) => [name, this.#plain(one)]));
  }

  #plain(value: unknown): string {
    if (value === null) return "";
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
    throw this.wrong("a map of texts");
  }

  note(problem: string): void {
    this.#source.note(this.#path, problem);
  }

  get isThere(): boolean {
    return this.#value !== undefined && this.#value !== null;
  }

  get isList(): boolean {
    return Array.isArray(this.#value);
  }

  /** The value, without taking it. */
  get peeked(): unknown {
    return this.#value;
  }

  /** The value if it is a text or a number, without taking it; else empty. */
  get peekedText(): string {
    return typeof this.#value === "string" || typeof this.#value === "number" ? String(this.#value) : "";
  }

  wrong(expected: string): AppError {
    return new AppError("invalid_request", `Invalid "${shown(this.#path)}": it must be ${expected}`);
  }
}

function fieldsOf(value: unknown): Fields {
  return value !== null && typeof value === "object" ? (value as Fields) : {}; // lists have numbers for names
}

function pairOf(text: string): [string, string] {
  const equals = text.indexOf("=");
  return equals === -1 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
}

function keyOf(path: readonly string[]): string {
  return path.join("\u0000");
}

function shown(path: readonly string[]): string {
  return path.join(".");
}
