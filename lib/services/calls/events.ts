import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import { LiveOutput } from "./live-output.ts";

/** An event of an invocation, for its listeners. */
export type InvocationEvent =
  | { readonly type: "state"; readonly invocation: Invocation }
  | { readonly type: "log"; readonly entries: readonly LogEntry[] };

type Listener = (event: InvocationEvent) => void;

/**
 * Passes on the events of invocations as they happen. The output of those that run is kept until they end, for whoever comes
 * later; everything else is read from the store.
 */
export class InvocationEvents {
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #outputs = new Map<string, LiveOutput>();
  readonly #watchers = new Set<(invocation: Invocation) => void>();

  /** The number of listeners. */
  get size(): number {
    let size = 0;
    for (const listeners of this.#listeners.values()) size += listeners.size;
    return size;
  }

  /** Calls `listener` for every event from now on; the returned function ends that. */
  follow(invocationId: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(invocationId) ?? new Set();
    this.#listeners.set(invocationId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(invocationId) === listeners) this.#listeners.delete(invocationId);
    };
  }

  /** Calls `watcher` for every change of the state of any invocation from now on; the returned function ends that. */
  watch(watcher: (invocation: Invocation) => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** Returns what an invocation has printed so far, if it runs and has printed something. */
  output(invocationId: string): LogEntry[] | undefined {
    return this.#outputs.get(invocationId)?.entries;
  }

  /** Passes on that the state of an invocation has changed; its output is in the store by then, unless it runs. */
  changed(invocation: Invocation): void {
    if (invocation.status !== "running" && this.#outputs.size > 0) this.#outputs.delete(invocation.id);
    this.#tell(invocation.id, { type: "state", invocation });
    if (this.#watchers.size > 0) for (const watcher of Array.from(this.#watchers)) watcher(invocation);
  }

  /** Passes on what a function has printed. Call it only before the change that ends the invocation. */
  logged(invocationId: string, entries: readonly LogEntry[]): void {
    if (entries.length === 0) return;
    const output = this.#outputs.get(invocationId) ?? new LiveOutput();
    this.#outputs.set(invocationId, output);
    output.add(entries);
    this.#tell(invocationId, { type: "log", entries });
  }

  #tell(invocationId: string, event: InvocationEvent): void {
    // A copy: listeners may leave while they are called.
    for (const listener of Array.from(this.#listeners.get(invocationId) ?? [])) listener(event);
  }
}
