import { rmSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { AppError, codeOf } from "../../domain/errors.ts";

/** The contexts of builds that wait or run: a file each, which is gone when its build has ended. */
export class ContextFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Creates an empty file for a build. Throws `storage_full`. */
  async create(id: string): Promise<ContextFile> {
    const { mkdir, open } = process.getBuiltinModule("node:fs/promises");
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = join(this.#directory, `${id}.tar`);
    return new ContextFile(path, await withRoom(() => open(path, "wx", 0o600)));
  }

  /** Removes the files of all builds. It is part of the start, which does without the module for promises. */
  clear(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A context that arrives. */
export class ContextFile {
  readonly path: string;
  readonly #handle: FileHandle;
  #bytes = 0;

  constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Writes the next bytes. Throws `storage_full`. */
  async write(bytes: Uint8Array): Promise<void> {
    await withRoom(() => this.#handle.writeFile(bytes));
    this.#bytes += bytes.length;
  }

  /** Ends the writing. */
  close(): Promise<void> {
    return this.#handle.close();
  }

  async remove(): Promise<void> {
    await process.getBuiltinModule("node:fs/promises").rm(this.path, { force: true });
  }
}

async function withRoom<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (codeOf(error) !== "ENOSPC" && codeOf(error) !== "EDQUOT") throw error;
    throw new AppError(
      "storage_full",
      "No room for the build context in the data directory: free some, and send it again",
      {
        cause: error,
      },
    );
  }
}
