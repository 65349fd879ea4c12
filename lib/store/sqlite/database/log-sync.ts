import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";

/** Puts what was written to a file on the disk. */
export interface Sync extends Disposable {
  /** Settles when all that was written before is on the disk; rejects with what the system says. */
  sync(): Promise<void>;
  /** The same at once, while nothing else happens. */
  syncNow(): void;
}

/**
 * Syncs the write-ahead log of an open database, in a thread beside the event loop. It is what SQLite itself does at
 * each commit with `synchronous = full`: with `normal` it leaves out this one sync, and keeps those around checkpoints.
 * The log is one file for as long as its database is open. SQLite holds no locks on it (closing any descriptor of a file
 * gives up all that a process has there).
 */
export class LogSync implements Sync {
  readonly #path: string;
  #file: number | undefined;
  #running = 0;
  #closed = false;

  /** `path` is the log's own. It need not be there before the first sync. */
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

  /** Not under a sync that still runs: its descriptor could be another file's by then. */
  #close(): void {
    if (this.#file === undefined || this.#running > 0) return;
    closeSync(this.#file);
    this.#file = undefined;
  }
}
