import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";

/** Makes sure that the writes to a file are on the disk. */
export interface Sync extends Disposable {
  /** Settles when everything that was written before is on the disk; rejects with the error of the system. */
  sync(): Promise<void>;
  /** The same at once, blocking everything else. */
  syncNow(): void;
}

/**
 * Syncs the write-ahead log of an open database, in another thread than the event loop. SQLite itself does this at each
 * commit with `synchronous = full`; with `normal` it leaves out this one sync, and keeps those around checkpoints. The log
 * is one file for as long as its database is open. SQLite holds no locks on it (closing any descriptor of a file gives up
 * all locks that the process has there).
 */
export class LogSync implements Sync {
  readonly #path: string;
  #file: number | undefined;
  #running = 0;
  #closed = false;

  /** `path` is that of the log, which need not exist before the first sync. */
  constructor(path: string) {
    this.#path = path;
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      const file = this.#open();
      this.#running += 1;
      fdatasync(file, (error) => {
        this.#running -= 1;
        if (this.#closed) this.#close();
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  syncNow(): void {
    fdatasyncSync(this.#open());
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#close();
  }

  #open(): number {
    return (this.#file ??= openSync(this.#path, "r"));
  }

  /** Not while a sync runs: by its end, the descriptor could be another file's. */
  #close(): void {
    if (this.#file === undefined || this.#running > 0) return;
    closeSync(this.#file);
    this.#file = undefined;
  }
}
