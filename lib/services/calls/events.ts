import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import { LiveOutput } from "./live-output.ts";

/** An event of an invocation, for its listeners. */
export type InvocationEvent =
  | {
      readonly type: "state";
      readonly invocation: Invocation;
      /** True if another server runs it: then its output may not have come before this. */
      readonly elsewhere?: boolean;
    }
  | { readonly type: "log"; readonly entries: readonly LogEntry[] };

type Listener = (event: InvocationEvent) => void;

/** Listens to all invocations of a function. */
export type FunctionListener = (invocationId: string, event: InvocationEvent) => void;

/** The output of an invocation that runs, and its function. */
interface Running {
  readonly function_id: string;
  readonly output: LiveOutput;
  /** True if another server runs it. */
  readonly isElsewhere: boolean;
}

/** An invocation whose function has printed something. */
export type Printing = Pick<Invocation, "id" | "function_id">;

/**
 * Passes on the events of invocations as they happen. The output of those that run is kept until they end, for whoever comes
 * later; everything else is read from the store.
 */
export class InvocationEvents {
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #functionListeners = new Map<string, Set<FunctionListener>>();
  readonly #outputs = new Map<string, Running>();

  /** Tells other servers that an asynchronous invocation has changed; they find out about the others by looking. */
  readonly #tellOthers: ((invocationId: string) => void) | undefined;

  constructor(tellOthers?: (invocationId: string) => void) {
    this.#tellOthers = tellOthers;
  }

  /** The ids of the invocations that someone follows. */
  get followed(): string[] {
    return [...this.#listeners.keys()];
  }

  /** The number of listeners. */
  get size(): number {
    let size = 0;
    for (const listeners of this.#listeners.values()) size += listeners.size;
    for (const listeners of this.#functionListeners.values()) size += listeners.size;
    return size;
  }

  /** Calls `listener` for every event from now on; the returned function ends that. */
  follow(invocationId: string, listener: Listener): () => void {
    return added(this.#listeners, invocationId, listener);
  }

  /** The same for all invocations of a function. */
  followFunction(functionId: string, listener: FunctionListener): () => void {
    return added(this.#functionListeners, functionId, listener);
  }

  /** Returns what an invocation has printed so far, if it runs and has printed something. */
  output(invocationId: string): LogEntry[] | undefined {
    return this.#outputs.get(invocationId)?.output.entries;
  }

  /** Returns what the running invocations of a function have printed so far, by their ids. */
  outputsOf(functionId: string): ReadonlyMap<string, LogEntry[]> {
    const own = [...this.#outputs].filter(([, { function_id }]) => function_id === functionId);
    return new Map(own.map(([id, { output }]) => [id, output.entries]));
  }

  /** Passes on that the state of an invocation has changed; its output is in the store by then, unless it runs. */
  changed(invocation: Invocation): void {
    if (invocation.status !== "running" && this.#outputs.size > 0) this.#outputs.delete(invocation.id);
    this.forgetElsewhere(invocation.id);
    this.#tell(invocation, { type: "state", invocation });
    if (invocation.mode === "async") this.#tellOthers?.(invocation.id);
  }

  /** Passes on the state of an invocation that another server runs. */
  changedElsewhere(invocation: Invocation): void {
    if (invocation.status !== "running" && this.#outputs.size > 0) this.#outputs.delete(invocation.id);
    this.#tell(invocation, { type: "state", invocation, elsewhere: true });
  }

  /** Passes on what a function has printed. Call it only before the change that ends the invocation. */
  logged(invocation: Printing, entries: readonly LogEntry[]): void {
    this.#log(invocation, entries, false);
  }

  /** The same for an invocation that another server runs. */
  loggedElsewhere(invocation: Printing, entries: readonly LogEntry[]): void {
    this.#log(invocation, entries, true);
  }

  /** Forgets what an invocation has printed on another server. */
  forgetElsewhere(invocationId: string): void {
    if (this.#outputs.get(invocationId)?.isElsewhere === true) this.#outputs.delete(invocationId);
  }

  #log(invocation: Printing, entries: readonly LogEntry[], isElsewhere: boolean): void {
    if (entries.length === 0) return;
    const { id, function_id } = invocation;
    const running = this.#outputs.get(id) ?? { function_id, output: new LiveOutput(), isElsewhere };
    this.#outputs.set(id, running);
    running.output.add(entries);
    this.#tell(invocation, { type: "log", entries });
  }

  #tell({ id, function_id }: Printing, event: InvocationEvent): void {
    // A copy: listeners may leave while they are called.
    for (const listener of Array.from(this.#listeners.get(id) ?? [])) listener(event);
    if (this.#functionListeners.size === 0) return;
    for (const listener of Array.from(this.#functionListeners.get(function_id) ?? [])) listener(id, event);
  }
}

function added<L>(all: Map<string, Set<L>>, id: string, listener: L): () => void {
  const listeners = all.get(id) ?? new Set<L>();
  all.set(id, listeners.add(listener));
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0 && all.get(id) === listeners) all.delete(id);
  };
}
