import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import type { Extract, Header, Pack } from "tar-stream";
import { type LabelledDockerfile, withLabel } from "../../domain/builds/dockerfile.ts";
import { messageOf } from "../../domain/errors.ts";
import { DOCKERFILE_BYTES } from "../../domain/limits.ts";

/** A context that the engine cannot build. The message is for its sender. */
export class ContextError extends Error {
  override readonly name = "ContextError";
}

interface ContextOptions {
  /** A tar archive, packed with gzip or not. */
  readonly file: string;
  /** The path of the Dockerfile in it. */
  readonly dockerfile: string;
  /** The most bytes that it may have when it is unpacked. */
  readonly limit_bytes: number;
  /** A label for each stage of its Dockerfile, if there is to be one. */
  readonly label: { readonly key: string; readonly value: string } | undefined;
}

/** An entry of an archive that is read. */
type Entry = AsyncIterable<unknown> & { readonly header: Header };

/** Bytes of the header of each entry of an archive. */
const HEADER_BYTES = 512;

/**
 * Reads a context and writes it for the engine, piece by piece: unpacked, of a limited size, and with a label in each stage of
 * its Dockerfile if there is one to add.
 */
export class BuildContext {
  readonly #options: ContextOptions;
  #dockerfile: LabelledDockerfile | undefined;
  #problem: ContextError | undefined;

  constructor(options: ContextOptions) {
    this.#options = options;
  }

  /** The Dockerfile, once the engine has got it. */
  get dockerfile(): LabelledDockerfile | undefined {
    return this.#dockerfile;
  }

  /** The reason why the stream has ended with an error, if it is the context's. */
  get problem(): ContextError | undefined {
    return this.#problem;
  }

  /** Returns the archive for the engine. */
  async open(): Promise<Readable> {
    const { extract, pack } = await import("tar-stream");
    const stream = await import("node:stream");
    const isPacked = await isGzip(this.#options.file);
    const [unpacked, packed] = [extract(), pack()];
    const source = createReadStream(this.#options.file);
    const fail = (error: Error) => unpacked.destroy(error);
    source.on("error", fail);
    const archive = isPacked ? source.pipe((await import("node:zlib")).createGunzip()).on("error", fail) : source;
    archive.pipe(unpacked);
    // It reports its errors to the reader of the archive.
    void this.#copy(unpacked, packed).finally(() => source.destroy());
    return stream.Readable.from(packed);
  }

  async #copy(unpacked: Extract, packed: Pack): Promise<void> {
    try {
      let bytes = 0;
      for await (const entry of unpacked) {
        bytes += HEADER_BYTES + (entry.header.size ?? 0);
        if (bytes > this.#options.limit_bytes) throw tooLarge(this.#options.limit_bytes);
        await this.#pass(entry, packed);
      }
      if (this.#dockerfile === undefined) throw this.#noDockerfile();
      packed.finalize();
    } catch (error) {
      this.#problem = error instanceof ContextError ? error : notATar(error);
      packed.destroy(this.#problem);
    }
  }

  async #pass(entry: Entry, packed: Pack): Promise<void> {
    const { header } = entry;
    if (header.type === "file" && plainPath(header.name) === plainPath(this.#options.dockerfile)) {
      const { label } = this.#options;
      const text = await textOf(entry);
      this.#dockerfile =
        label === undefined ? { text, stages: [], added: [] } : withLabel(text, label.key, label.value);
      const bytes = Buffer.from(this.#dockerfile.text);
      packed.entry({ ...header, size: bytes.length, pax: withoutSize(header.pax) }, bytes);
      return;
    }
    const target = packed.entry(header);
    // If the engine has left, it fails with the whole archive.
    target.on("error", () => undefined);
    for await (const chunk of bytesOf(entry)) {
      if (!target.write(chunk)) await eventOf("drain", target, packed);
    }
    // Otherwise small entries would gather in memory while the engine reads none of them.
    const closed = eventOf("close", target, packed);
    target.end(undefined);
    await closed;
  }

  #noDockerfile(): ContextError {
    const { dockerfile } = this.#options;
    return new ContextError(
      `The context has no file "${dockerfile}": add it, or name another with ?dockerfile= (a link will not do)`,
    );
  }
}

async function isGzip(file: string): Promise<boolean> {
  await using handle = await process.getBuiltinModule("node:fs/promises").open(file);
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
}

/** Settles with an event of an entry, or when the archive is closed. */
function eventOf(event: "drain" | "close", target: ReturnType<Pack["entry"]>, packed: Pack): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      target.removeListener(event, done);
      packed.removeListener("close", done);
      resolve();
    };
    target.on(event, done);
    packed.on("close", done);
  });
}

async function* bytesOf(entry: Entry): AsyncGenerator<Uint8Array> {
  for await (const chunk of entry) if (chunk instanceof Uint8Array) yield chunk;
}

async function textOf(entry: Entry): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of bytesOf(entry)) {
    bytes += chunk.length;
    if (bytes > DOCKERFILE_BYTES)
      throw new ContextError(`The Dockerfile is over the limit of ${DOCKERFILE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Returns extended headers without the size, which is another now. */
function withoutSize(pax: unknown): unknown {
  if (pax === null || typeof pax !== "object") return pax;
  return Object.fromEntries(Object.entries(pax).filter(([key]) => key !== "size"));
}

function plainPath(path: string): string {
  return path.replace(/^(?:\.?\/)+/, "");
}

function tooLarge(limit: number): ContextError {
  return new ContextError(
    `The context has over ${limit} bytes when it is unpacked: leave out files with .dockerignore, or raise BUILD_BYTES`,
  );
}

function notATar(error: unknown): ContextError {
  return new ContextError(
    `The context is not a whole tar archive, packed with gzip or not (${messageOf(error)}): send one, as "tar -cz DIRECTORY" makes it`,
    { cause: error },
  );
}
