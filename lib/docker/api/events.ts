import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { IncomingMessage } from "node:http";
import type { Clock } from "../../clock.ts";
import { aborted, deadline, onAbort } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { EngineConnection } from "./connection.ts";
import { NAME_PREFIX, OWNER_LABEL } from "./containers.ts";
import { type ContainerEnd, ContainerEnds } from "./container-ends.ts";

/** The pause between a lost connection and the next attempt, in milliseconds: recovery is promised within 2 s. */
const RETRY_MS = 500;
/** The time after which an engine that does not answer a ping counts as dead, in milliseconds. */
const PING_MS = 2_000;
/** The same for an attempt to connect. It goes on beside the next one, as a busy machine may only be slow. */
const CONNECT_MS = 1_000;
/** The time after which an attempt to connect is given up. At a start, calls wait so long for an engine that takes connections. */
const PATIENCE_MS = 5_000;
/** The interval of pings, in milliseconds: an engine that hangs keeps its streams open. */
const HEARTBEAT_MS = 5_000;
const EVENT_LINE_BYTES = 1024 * 1024;

/** The events that we ask for, and their meaning. Podman filters by its own names, and reports `remove` for `destroy`. */
const EVENTS: ReadonlyMap<string, "create" | "oom" | "die" | "destroy"> = new Map([
  ["create", "create"],
  ["oom", "oom"],
  ["die", "die"],
  ["died", "die"],
  ["destroy", "destroy"],
  ["remove", "destroy"],
]);

/** The parts of a message of `GET /events` that we need. */
const ContainerEvent = Type.Object({
  Action: Type.String(),
  Actor: Type.Object({
    ID: Type.String({ minLength: 1 }),
    Attributes: Type.Optional(Type.Record(Type.String(), Type.String())),
  }),
});

interface EngineEventsDeps {
  readonly connection: EngineConnection;
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onConnected: () => Promise<void>;
  readonly onCreated: (container: { readonly id: string; readonly name: string }) => void;
}

/**
 * Watches through one event stream whether the engine is there, and how our containers end. It connects, and reconnects for
 * as long as it lives. `onConnected` runs at each connection, when containers may have ended, or been left behind, without
 * an event; `onCreated` for each new container with our label and name.
 */
export class EngineEvents implements AsyncDisposable {
  /** The reason why the engine cannot be used now, or nothing if it can. A field, as every warm call reads it several times. */
  problem: AppError | undefined = new AppError("engine_unavailable", "The Docker Engine has not been asked yet", {
    retry_after_s: 1,
  });
  /**
   * Settles when it is known whether the engine can be used. A call that comes right after the start, or after the stream
   * was cut (some proxies cut endless streams), waits for this instead of getting a 503.
   */
  settled: Promise<void>;
  readonly #deps: EngineEventsDeps;
  readonly #stop = new AbortController();
  readonly #ends: ContainerEnds;
  #settled = Promise.withResolvers<void>();
  #loop: Promise<void> | undefined;
  #hasConnected = false;

  constructor(deps: EngineEventsDeps) {
    this.#deps = deps;
    this.#ends = new ContainerEnds(deps.clock);
    this.settled = this.#settled.promise;
  }

  /** Begins to watch. Does not wait for the engine. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Asks the engine now and returns why it cannot be used, or nothing. The answer is not remembered. */
  async probe(): Promise<AppError | undefined> {
    try {
      await this.#deps.connection.ping(PING_MS);
      return undefined;
    } catch (error) {
      return asProblem(error);
    }
  }

  /**
   * Waits until the container has ended (or is gone, with `gone`), for at most so many milliseconds, and returns what is
   * known then. It does not wait while the engine is away, as nothing can be learnt.
   */
  async containerEnd(containerId: string, until: "died" | "gone", timeoutMs: number): Promise<ContainerEnd> {
    return this.#ends.wait(containerId, until, this.problem === undefined ? timeoutMs : 0);
  }

  /** Forgets a container that nobody will ask for again. */
  forget(containerId: string): void {
    this.#ends.forget(containerId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("stopped"));
    this.#settled.resolve();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const connectedAt = await this.#watch(signal);
      if (signal.aborted) return;
      // A stream that was cut after a while is not a sign of a dead engine: the first attempt comes at once.
      if (connectedAt !== undefined && this.#deps.clock.monotonic() - connectedAt > RETRY_MS) {
        this.#settled = Promise.withResolvers<void>();
        this.settled = this.#settled.promise;
      } else {
        this.#settled.resolve();
        await this.#pause(signal);
      }
    }
  }

  /** Connects and takes events until that fails. Returns when it connected, if it did. */
  async #watch(signal: AbortSignal): Promise<number | undefined> {
    let connectedAt: number | undefined;
    try {
      const stream = await this.#connect(signal);
      connectedAt = this.#deps.clock.monotonic();
      await this.#takeAll(stream, signal);
      throw new Error("the event stream ended");
    } catch (error) {
      if (!signal.aborted) this.#setProblem(error);
    }
    return connectedAt;
  }

  /**
   * Returns the stream of the first attempt that succeeds. One that fails is the end; beside one that is silent another begins every
   * second, as the engine may have lost the first. An engine that is silent counts as dead meanwhile. Calls hear of that at once,
   * but not at a start, when a busy machine makes both sides slow.
   */
  async #connect(signal: AbortSignal): Promise<IncomingMessage> {
    const first = Promise.withResolvers<IncomingMessage>();
    const attempts = new Set<AbortController>();
    let isOver = false;
    const attempt = async () => {
      const own = new AbortController();
      attempts.add(own);
      try {
        const stream = await this.#attempt(own.signal);
        attempts.delete(own);
        if (isOver) stream.destroy();
        isOver = true;
        first.resolve(stream);
      } catch (error) {
        attempts.delete(own);
        first.reject(error);
      }
    };
    const stopListening = onAbort(signal, () => first.reject(signal.reason));
    let cancel: () => void = () => undefined;
    const late = () => {
      this.#setProblem(new Error(`it did not answer within ${CONNECT_MS} ms. Start it, or point DOCKER_HOST at it`));
      if (this.#hasConnected) this.#settled.resolve();
      begin();
    };
    const begin = () => {
      void attempt();
      cancel = this.#deps.clock.after(CONNECT_MS, late);
    };
    begin();
    try {
      return await first.promise;
    } finally {
      isOver = true;
      cancel();
      stopListening();
      for (const other of attempts) other.abort(new Error("another attempt has succeeded, or failed"));
    }
  }

  async #attempt(signal: AbortSignal): Promise<IncomingMessage> {
    await this.#deps.connection.negotiate(PATIENCE_MS, signal);
    return this.#deps.connection.stream({
      operation: "events",
      method: "GET",
      path: "/events",
      query: {
        filters: JSON.stringify({
          type: ["container"],
          label: [`${OWNER_LABEL}=${this.#deps.owner}`],
          event: [...EVENTS.keys()],
        }),
      },
      timeout_ms: PATIENCE_MS,
      signal,
    });
  }

  async #takeAll(stream: IncomingMessage, signal: AbortSignal): Promise<void> {
    const stopListening = onAbort(signal, () => stream.destroy());
    const stopHeartbeat = this.#heartbeat((error) => stream.destroy(error));
    try {
      this.problem = undefined;
      this.#hasConnected = true;
      this.#settled.resolve();
      this.#deps.log.info("engine connected");
      // Not awaited: events must be read during the sweep, which may wait for some of them.
      void this.#deps.onConnected().catch((error: unknown) => this.#deps.log.error("sweep failed", { error }));
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
      stopListening();
      stream.destroy();
    }
  }

  #heartbeat(onDead: (error: Error) => void): () => void {
    let stopped = false;
    let cancel: () => void;
    const wait = () => (cancel = this.#deps.clock.after(HEARTBEAT_MS, () => void beat()));
    const beat = async () => {
      const problem = await this.probe();
      // Stopped during the ping: another heartbeat has begun, or none is needed.
      if (stopped) return;
      if (problem) onDead(problem);
      else wait();
    };
    wait();
    return () => {
      stopped = true;
      cancel();
    };
  }

  #take(line: string): void {
    if (line.trim() === "") return;
    const event: unknown = JSON.parse(line);
    if (!Value.Check(ContainerEvent, event)) return;
    const { ID: id, Attributes } = event.Actor;
    const name = Attributes?.["name"] ?? "";
    const what = EVENTS.get(event.Action);
    if (what === undefined) return;
    if (what !== "create") this.#ends.take(id, what);
    else if (name.startsWith(NAME_PREFIX)) this.#deps.onCreated({ id, name });
  }

  #setProblem(error: unknown): void {
    const problem = asProblem(error);
    if (this.problem?.message !== problem.message)
      this.#deps.log.warn("engine unavailable", { problem: problem.message });
    this.problem = problem;
    this.#ends.giveUp();
  }

  async #pause(signal: AbortSignal): Promise<void> {
    using limit = deadline(this.#deps.clock, RETRY_MS, signal);
    await aborted(limit.signal);
  }
}

function asProblem(error: unknown): AppError {
  if (error instanceof AppError) return error;
  // Bun's whole message for a stream that was cut.
  const why = messageOf(error) === "aborted" ? "its connection was cut" : messageOf(error);
  return new AppError("engine_unavailable", `The Docker Engine cannot be used: ${why}`, {
    cause: error,
    retry_after_s: 2,
  });
}

function toBytes(chunk: unknown): Uint8Array {
  return chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk));
}
