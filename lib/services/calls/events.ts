import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";

/** An event of an invocation, for its listeners. */
export type InvocationEvent =
  | { readonly type: "state"; readonly invocation: Invocation }
  | { readonly type: "log"; readonly entries: readonly LogEntry[] };

type Listener = (event: InvocationEvent) => void;

/** Passes on the events of invocations as they happen. Events are not buffered; late subscribers read the store. */
export class InvocationEvents {
  readonly #listeners = new Map<string, Set<Listener>>();

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

  /** Passes on that the state of an invocation has changed. */
  changed(invocation: Invocation): void {
    this.#tell(invocation.id, { type: "state", invocation });
  }

  /** Passes on what a function has printed. */
  logged(invocationId: string, entries: readonly LogEntry[]): void {
    if (entries.length > 0) this.#tell(invocationId, { type: "log", entries });
  }

  #tell(invocationId: string, event: InvocationEvent): void {
    // A copy: listeners may leave while they are called.
    for (const listener of Array.from(this.#listeners.get(invocationId) ?? [])) listener(event);
  }
}
