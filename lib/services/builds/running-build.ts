import { type Build, type BuildRequest, hasEnded } from "../../domain/builds/builds.ts";
import { BuildLog } from "./build-log.ts";
import type { ContextFile } from "./context-files.ts";

/** Something that happens to a build. */
export type BuildEvent =
  | { readonly type: "state"; readonly build: Build }
  /** `position` is that of the end of the text in the whole output. */
  | { readonly type: "log"; readonly text: string; readonly position: number };

export type BuildListener = (event: BuildEvent) => void;

/** A build that waits or runs, with those who follow it. */
export class RunningBuild {
  readonly request: BuildRequest;
  readonly context: ContextFile;
  readonly log = new BuildLog();
  readonly #cancel = new AbortController();
  readonly #listeners = new Set<BuildListener>();
  #record: Build;

  constructor(record: Build, request: BuildRequest, context: ContextFile) {
    this.#record = record;
    this.request = request;
    this.context = context;
  }

  get record(): Build {
    return this.#record;
  }

  /** Aborts when the build is to end, with the reason. */
  get signal(): AbortSignal {
    return this.#cancel.signal;
  }

  cancel(reason: unknown): void {
    this.#cancel.abort(reason);
  }

  change(changes: Partial<Build>): Build {
    this.#record = { ...this.#record, ...changes };
    this.#tell({ type: "state", build: this.#record });
    // The followers get what they wait for.
    if (hasEnded(this.#record)) this.#listeners.clear();
    return this.#record;
  }

  print(text: string): void {
    if (text === "") return;
    this.log.add(text);
    this.#tell({ type: "log", text, position: this.log.end });
  }

  /** Calls `listener` with all that happens from now on; the returned function ends that. */
  follow(listener: BuildListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #tell(event: BuildEvent): void {
    // A copy: listeners may leave while they are called.
    for (const listener of Array.from(this.#listeners)) listener(event);
  }
}
