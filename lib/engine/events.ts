import type { Clock } from "../clock.ts";
import { AppError, messageOf } from "../domain/errors.ts";
import type { Logger } from "../log.ts";
import type { EngineConnection } from "./connection.ts";
import { OWNER_LABEL } from "./containers.ts";

/** How a container ended, as far as the engine has told. */
export interface Fate {
  readonly oom: boolean;
  readonly died: boolean;
  readonly gone: boolean;
}

/** From a lost connection to the next try, in milliseconds: recovery is promised within 2 s. */
const RETRY_MS = 500;
/** An engine that does not answer a ping this fast is taken for dead, in milliseconds. */
const PING_MS = 2_000;
/** Fates that nobody asked for are dropped, oldest first, beyond this many. */
const FATES = 10_000;
/** An engine that hangs keeps its streams open, so it is asked this often whether it is alive, in milliseconds. */
const HEARTBEAT_MS = 5_000;
const EVENT_LINE_BYTES = 1024 * 1024;

/**
 * Watches the engine through one event stream: whether it is there, and how our containers end. It connects, stays
 * connected, and connects again for as long as it lives. `onConnected` runs at each connection, when containers may
 * have ended, or been left behind, without an event.
 */
export class EngineEvents implements AsyncDisposable {
  readonly #connection: EngineConnection;
  readonly #owner: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onConnected: () => Promise<void>;
  readonly #stop = new AbortController();
  readonly #fates = new Map<string, Fate>();
  readonly #waiters = new Map<string, Set<() => void>>();
  #problem: AppError | undefined = new AppError("engine_unavailable", "The Docker Engine has not been asked yet", { retry_after_s: 1 });
  #loop: Promise<void> | undefined;

  constructor(options: {
    connection: EngineConnection;
    owner: string;
    clock: Clock;
    log: Logger;
    onConnected: () => Promise<void>;
  }) {
    this.#connection = options.connection;
    this.#owner = options.owner;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onConnected = options.onConnected;
  }

  /** Begins to watch; does not wait for the engine. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Why the engine cannot be used now, or nothing when it can. */
  get problem(): AppError | undefined {
    return this.#problem;
  }

  /** Asks the engine now and tells why it cannot be used, or nothing; what it finds is not remembered. */
  async probe(): Promise<AppError | undefined> {
    try {
      await this.#connection.ping(PING_MS);
      return undefined;
    } catch (error) {
      return asProblem(error);
    }
  }

  /** Waits until the container has ended (or is gone, with `gone`), at most so many milliseconds, and tells what is known then. */
  async fate(containerId: string, until: "died" | "gone", timeoutMs: number): Promise<Fate> {
    const known = () => this.#fates.get(containerId) ?? { oom: false, died: false, gone: false };
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(timeoutMs, resolve);
    const check = () => {
      const fate = known();
      if (fate.gone || (until === "died" && fate.died)) resolve();
    };
    const waiters = this.#waiters.get(containerId) ?? new Set();
    this.#waiters.set(containerId, waiters.add(check));
    check();
    await promise;
    cancel();
    waiters.delete(check);
    if (waiters.size === 0) this.#waiters.delete(containerId);
    return known();
  }

  /** Drops what is known of a container that nobody will ask for again. */
  forget(containerId: string): void {
    this.#fates.delete(containerId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("stopped"));
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#watch(signal);
        throw new Error("the event stream ended");
      } catch (error) {
        if (signal.aborted) return;
        this.#setProblem(error);
      }
      await this.#pause(signal);
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    await this.#connection.negotiate(PING_MS);
    const stream = await this.#connection.stream({
      operation: "events",
      method: "GET",
      path: "/events",
      query: {
        filters: JSON.stringify({ type: ["container"], label: [`${OWNER_LABEL}=${this.#owner}`], event: ["oom", "die", "destroy"] }),
      },
      timeout_ms: PING_MS,
      signal,
    });
    const close = () => stream.destroy();
    signal.addEventListener("abort", close, { once: true });
    const stopHeartbeat = this.#heartbeat((error) => stream.destroy(error));
    try {
      this.#problem = undefined;
      this.#log.info("engine connected");
      // Not awaited: events must be read while the owner sweeps, and it may wait for some of them.
      void this.#onConnected().catch((error: unknown) => this.#log.error("sweep failed", { error }));
      const decoder = new TextDecoder();
      let rest = "";
      for await (const chunk of stream) {
        const lines = (rest + decoder.decode(toBytes(chunk), { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        if (rest.length > EVENT_LINE_BYTES) throw new Error("its events make no sense");
        for (const line of lines) this.#take(line);
      }
    } finally {
      stopHeartbeat();
      signal.removeEventListener("abort", close);
      stream.destroy();
    }
  }

  #heartbeat(onDead: (error: Error) => void): () => void {
    let cancel = () => {};
    const beat = async () => {
      const problem = await this.probe();
      if (problem) onDead(problem);
      else cancel = this.#clock.after(HEARTBEAT_MS, () => void beat());
    };
    cancel = this.#clock.after(HEARTBEAT_MS, () => void beat());
    return () => cancel();
  }

  #take(line: string): void {
    if (line.trim() === "") return;
    const event: unknown = JSON.parse(line);
    if (event === null || typeof event !== "object" || !("Action" in event)) return;
    const id = "Actor" in event && event.Actor !== null && typeof event.Actor === "object" && "ID" in event.Actor ? event.Actor.ID : undefined;
    if (typeof id !== "string") return;
    const before = this.#fates.get(id) ?? { oom: false, died: false, gone: false };
    if (event.Action === "oom") this.#fates.set(id, { ...before, oom: true });
    else if (event.Action === "die") this.#fates.set(id, { ...before, died: true });
    else if (event.Action === "destroy") this.#fates.set(id, { ...before, died: true, gone: true });
    if (this.#fates.size > FATES) {
      const oldest = this.#fates.keys().next().value;
      if (oldest !== undefined) this.#fates.delete(oldest);
    }
    for (const check of this.#waiters.get(id) ?? []) check();
  }

  #setProblem(error: unknown): void {
    const problem = asProblem(error);
    if (this.#problem?.message !== problem.message) this.#log.warn("engine unavailable", { problem: problem.message });
    this.#problem = problem;
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    const cancel = this.#clock.after(RETRY_MS, resolve);
    await promise;
    cancel();
    signal.removeEventListener("abort", onAbort);
  }
}

function asProblem(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError("engine_unavailable", `The Docker Engine cannot be used: ${messageOf(error)}`, { cause: error, retry_after_s: 2 });
}

function toBytes(chunk: unknown): Uint8Array {
  return chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk));
}
