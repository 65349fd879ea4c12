import { type FSWatcher, watch } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { onAbort } from "../../domain/concurrency.ts";
import { codeOf } from "../../domain/errors.ts";
import { listContext } from "./context.ts";
import { DEFAULT_DOCKERFILE, NOT_FOR_IMAGES } from "./templates.ts";

/** The silence that ends a change, in milliseconds: editors write a file in several steps. */
const QUIET_MS = 100;
/** The longest that a change can go on before it is looked at, in milliseconds. */
const LONGEST_MS = 1_000;
/** The time until a folder is read again that has changed while it was read, in milliseconds. */
const AGAIN_MS = 200;

/** A folder of the context that is watched. */
interface Watched {
  readonly inode: number;
  readonly watcher: FSWatcher;
}

/** Watches all that the build context of a folder has, folders that come later included. */
export class FolderWatch implements Disposable {
  readonly #directory: string;
  readonly #dockerfile: string | undefined;
  readonly #watched = new Map<string, Watched>();
  /** The files as they were last seen: their sizes, times and modes, by path. */
  #seen: ReadonlyMap<string, string> = new Map();
  /** The paths of all events since the last look: a folder among them may be another one now, of the same inode. */
  #touched = new Set<string>();
  #changes = 0;
  #woken = Promise.withResolvers<void>();

  constructor(directory: string, dockerfile: string | undefined) {
    this.#directory = directory;
    this.#dockerfile = dockerfile;
  }

  /** Reads the folder, and returns the paths that differ from the last time. Throws if it cannot be read. */
  async look(): Promise<string[]> {
    const folders = new Set<string>();
    const found = await this.#list(folders);
    for (const [folder, { watcher }] of this.#watched) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watched.delete(folder);
    }
    const now = new Map(
      found.map(({ path, stats }) => [
        path,
        stats.isDirectory() ? "folder" : [stats.mode, stats.size, stats.mtimeMs, stats.ino].join(" "),
      ]),
    );
    const before = this.#seen;
    this.#seen = now;
    const paths = new Set([...before.keys(), ...now.keys()]);
    return [...paths].filter((path) => before.get(path) !== now.get(path)).toSorted();
  }

  /** Waits until something differs from the last look, and returns the paths; none if the signal aborts. */
  async changed(signal: AbortSignal): Promise<string[]> {
    const stop = onAbort(signal, () => this.#wake());
    try {
      for (;;) {
        await this.#woken.promise;
        if (signal.aborted) return [];
        await this.#silence();
        this.#woken = Promise.withResolvers();
        const paths = await this.#lookAgain();
        if (paths.length > 0) return paths;
      }
    } finally {
      stop();
    }
  }

  [Symbol.dispose](): void {
    for (const { watcher } of this.#watched.values()) watcher.close();
    this.#watched.clear();
  }

  /** Lists the context. `folders` gets its folders, each of which is watched before it is read. */
  async #list(folders: Set<string>) {
    const touched = this.#touched;
    this.#touched = new Set();
    try {
      return await listContext(this.#directory, {
        dockerfile: this.#dockerfile ?? DEFAULT_DOCKERFILE,
        // Git changes its own files even when it is only asked something.
        left_out: [...((await this.#isPlain()) ? NOT_FOR_IMAGES : []), ".git"],
        onFolder: (folder) => {
          folders.add(folder);
          return this.#watch(folder, touched);
        },
      });
    } catch (error) {
      for (const path of touched) this.#touched.add(path);
      throw error;
    }
  }

  /** Returns whether the folder has no Dockerfile, and so is built with a template. */
  async #isPlain(): Promise<boolean> {
    return this.#dockerfile === undefined && !(await readdir(this.#directory)).includes(DEFAULT_DOCKERFILE);
  }

  async #lookAgain(): Promise<string[]> {
    try {
      return await this.look();
    } catch (error) {
      // Something has gone while it was read. The folder itself may come back, too.
      if (codeOf(error) !== "ENOENT") throw error;
      await Bun.sleep(AGAIN_MS);
      this.#wake();
      return [];
    }
  }

  /** Watches a folder, unless it is watched already. */
  async #watch(folder: string, touched: ReadonlySet<string>): Promise<void> {
    const path = join(this.#directory, folder);
    const { ino: inode } = await stat(path);
    const known = this.#watched.get(folder);
    if (known?.inode === inode && !touched.has(folder)) return;
    known?.watcher.close();
    try {
      const watcher = watch(path, (_, name) => {
        this.#touched.add(join(folder, name ?? ""));
        this.#wake();
      });
      watcher.on("error", () => this.#wake());
      this.#watched.set(folder, { inode, watcher });
    } catch (error) {
      if (codeOf(error) !== "ENOSPC" && codeOf(error) !== "EMFILE") throw error;
      throw new Error(
        `Cannot watch "${path}": the system lets nobody watch more folders. Leave out some with .dockerignore, or raise ` +
          "fs.inotify.max_user_watches and max_user_instances",
        { cause: error },
      );
    }
  }

  #wake(): void {
    this.#changes += 1;
    this.#woken.resolve();
  }

  /** Waits until nothing has changed for a moment. */
  async #silence(): Promise<void> {
    const end = performance.now() + LONGEST_MS;
    let before: number;
    do {
      before = this.#changes;
      await Bun.sleep(QUIET_MS);
    } while (this.#changes !== before && performance.now() < end);
  }
}
