import { AppError } from "../errors.ts";
import { MANIFEST_DEPTH, MANIFEST_PART_ENTRIES, MANIFEST_VALUES } from "../limits.ts";

/** Parses a text, and throws what `Bun.YAML.parse` and `JSON.parse` throw. Without `wanted` the value does not matter. */
export type ParseText = (text: string, format: "yaml" | "json", wanted: boolean) => Promise<unknown>;

/** Texts up to this length are parsed at once, within a millisecond or two whatever they are. */
const SHORT = 16 * 1024;
/** The longest time that a text is parsed for, in milliseconds. */
const LONGEST_MS = 20_000;
/** The values of one message from the thread: some 5 ms of the event loop. */
const MESSAGE_VALUES = 2_000;

/** A part of a value: what is at these keys, one within the other. */
interface Part {
  readonly path: readonly string[];
  readonly value: unknown;
}

type Message =
  | { readonly parts: readonly Part[] }
  | { readonly done: true }
  | { readonly error: { readonly name: string; readonly message: string } };

/**
 * The program of the thread. It sends a value in parts, since a message is unpacked in one go. It is a text so that it is
 * in the binary, too.
 */
const PROGRAM = `
const sizeOf = (value, depth) => {
  if (value === null || typeof value !== "object" || depth > ${MANIFEST_DEPTH}) return 1;
  let size = 1;
  for (const key in value) {
    size += sizeOf(value[key], depth + 1);
    if (size > ${MANIFEST_VALUES}) throw new Error("TOO MANY VALUES");
  }
  if (!Array.isArray(value) && Object.keys(value).length > ${MANIFEST_PART_ENTRIES}) throw new Error("TOO MANY ENTRIES");
  return size;
};
function* partsOf(path, value) {
  const size = sizeOf(value, 0);
  if (size <= ${MESSAGE_VALUES} || Array.isArray(value) || path.length > 4) return yield { path, value, size };
  yield { path, value: {}, size: 1 };
  for (const key of Object.keys(value)) yield* partsOf([...path, key], value[key]);
}
function* messagesOf(value) {
  let parts = [], values = 0;
  for (const { path, value: part, size } of partsOf([], value)) {
    parts.push({ path, value: part });
    values += size;
    if (values < ${MESSAGE_VALUES}) continue;
    yield { parts };
    parts = []; values = 0;
  }
  yield { parts };
}
let messages;
self.onmessage = ({ data: { text, format, wanted } }) => {
  try {
    if (text !== undefined) {
      const value = format === "json" ? JSON.parse(text) : Bun.YAML.parse(text);
      // No manifest is a list: it is refused, whatever is in it.
      messages = wanted ? messagesOf(Array.isArray(value) ? [] : value) : [].values();
    }
    const { done, value } = messages.next();
    postMessage(done ? { done } : value);
  } catch (error) {
    postMessage({ error: { name: error.name, message: error.message } });
  }
};`;

/** Parses at once what is short, and anything else in a thread, so that the event loop goes on whatever the text is. */
export async function withParser<T>(work: (parse: ParseText) => Promise<T>): Promise<T> {
  using thread = new ParserThread();
  return await work(async (text, format, wanted) =>
    text.length <= SHORT ? parseHere(text, format) : thread.parse(text, format, wanted),
  );
}

function parseHere(text: string, format: "yaml" | "json"): unknown {
  return format === "json" ? JSON.parse(text) : Bun.YAML.parse(text);
}

/** A thread that parses texts; it begins with the first one. */
class ParserThread implements Disposable {
  #worker: Worker | undefined;
  #url: string | undefined;

  async parse(text: string, format: "yaml" | "json", wanted: boolean): Promise<unknown> {
    const worker = (this.#worker ??= this.#begin());
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    let value: unknown;
    const onMessage = ({ data }: MessageEvent<Message>) => {
      if ("parts" in data) {
        for (const part of data.parts) value = withPart(value, part);
        // Asks for the next ones only now, so that other tasks have their turn between them.
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has no origin
        worker.postMessage({});
      } else if ("done" in data) resolve(value);
      else reject(errorOf(data.error));
    };
    const onError = ({ message }: ErrorEvent) => reject(new Error(message));
    worker.addEventListener("message", onMessage);
    worker.addEventListener("error", onError);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- as above
    worker.postMessage({ text, format, wanted });
    const timer = setTimeout(() => reject(tooSlow()), LONGEST_MS);
    return promise.finally(() => {
      clearTimeout(timer);
      worker.removeEventListener("message", onMessage);
      worker.removeEventListener("error", onError);
    });
  }

  [Symbol.dispose](): void {
    this.#worker?.terminate();
    if (this.#url !== undefined) URL.revokeObjectURL(this.#url);
  }

  #begin(): Worker {
    this.#url = URL.createObjectURL(new Blob([PROGRAM], { type: "text/javascript" }));
    return new Worker(this.#url);
  }
}

/** Puts a part in its place; not by assignment, which would set the prototype for a key `__proto__`. */
function withPart(whole: unknown, { path, value }: Part): unknown {
  const last = path.at(-1);
  if (last === undefined) return value;
  let parent = whole;
  for (const key of path.slice(0, -1)) parent = Object.getOwnPropertyDescriptor(parent, key)?.value;
  if (parent === null || typeof parent !== "object") throw new Error("The part has no place");
  Object.defineProperty(parent, last, { value, enumerable: true, configurable: true, writable: true });
  return whole;
}

function errorOf({ name, message }: { readonly name: string; readonly message: string }): Error {
  if (message === "TOO MANY ENTRIES") return tooLarge(`has an object with more than ${MANIFEST_PART_ENTRIES} fields`);
  if (message === "TOO MANY VALUES") return tooLarge(`has more than ${MANIFEST_VALUES} values`);
  return name === "RangeError" ? new RangeError(message) : new SyntaxError(message);
}

function tooLarge(why: string): AppError {
  return new AppError("invalid_request", `The manifest ${why}: apply it in parts`);
}

function tooSlow(): AppError {
  return new AppError(
    "invalid_request",
    `The manifest was not parsed within ${LONGEST_MS / 1_000} s: apply it in parts, or write it as JSON`,
  );
}
