import type { Duplex } from "node:stream";
import { type AppError, messageOf } from "../../domain/errors.ts";
import { freeBuffer } from "../../domain/calls/free-buffer.ts";
import type { Channel, ChannelReader, Ending } from "../../runner/platform.ts";
import { Demultiplexer } from "../api/demultiplexer.ts";
import type { EngineEvents } from "../api/events.ts";

/** The time that the engine has to report the end of a container after the end of its stream; it takes 40 to 55 ms. */
const CONTAINER_END_MS = 1_000;

/** A part of a body, whose memory is not left to the collector. */
const LONG_WRITE_BYTES = 16 * 1024;

interface ContainerChannelDeps {
  readonly id: string;
  readonly command: readonly string[];
  /** The attach stream of the container. */
  readonly stream: Duplex;
  readonly events: Pick<EngineEvents, "containerEnd" | "problem">;
  /** Judges the user that the gate says it runs as; returns why it must not be called. */
  readonly accept: Channel["accept"];
  /** Called once, when the stream is closed from either side. That makes the gate exit and the engine remove the container. */
  readonly onClosed: () => void;
  /** Has the gate in the volume checked before the next start. */
  readonly doubtGate: () => void;
  /** Settles when the container is gone. */
  readonly gone: () => Promise<void>;
}

/** The attach stream of one container, taken apart. */
export class ContainerChannel implements Channel {
  readonly #deps: ContainerChannelDeps;
  readonly #demultiplexer = new Demultiplexer();
  readonly #closed = Promise.withResolvers<void>();
  #open = true;
  #reader: ChannelReader | undefined;
  /** The reason why the stream ended before anyone read it. */
  #lostBefore: string | undefined;

  constructor(deps: ContainerChannelDeps) {
    this.#deps = deps;
    deps.stream.on("error", (error: Error) => this.#lose(error.message));
    deps.stream.on("close", () => this.#lose("its stream was closed"));
    deps.stream.on("end", () => this.#lose("its stream ended"));
  }

  get id(): string {
    return this.#deps.id;
  }

  get command(): readonly string[] {
    return this.#deps.command;
  }

  /** Settles when the stream is closed from either side. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  accept(user: Parameters<Channel["accept"]>[0]): AppError | undefined {
    return this.#deps.accept(user);
  }

  read(reader: ChannelReader): void {
    this.#reader = reader;
    if (this.#lostBefore === undefined) this.#deps.stream.on("data", (chunk: Buffer) => this.#take(chunk, reader));
    else reader.onEnd(this.#lostBefore);
  }

  write(bytes: Uint8Array): void {
    if (bytes.length < LONG_WRITE_BYTES) this.#deps.stream.write(bytes);
    else this.#deps.stream.write(bytes, () => freeBuffer(bytes));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // Not end(): an attach stream that is no longer read makes the engine's kill, rm and inspect hang.
    this.#deps.stream.destroy();
    this.#closed.resolve();
    this.#deps.onClosed();
  }

  reject(): void {
    this.#deps.doubtGate();
    this.close();
  }

  async ended(): Promise<Ending> {
    const { events, id } = this.#deps;
    const { died, oom } = await events.containerEnd(id, "died", CONTAINER_END_MS);
    if (oom) return { how: "out_of_memory" };
    const { problem } = events;
    return problem && !died ? { how: "lost", problem } : { how: "died" };
  }

  gone(): Promise<void> {
    return this.#deps.gone();
  }

  /** Passes on what a chunk of the stream holds. Readers copy what they keep. */
  #take(chunk: Uint8Array, reader: ChannelReader): void {
    if (!this.#open) return;
    try {
      for (const { stream, bytes } of this.#demultiplexer.push(chunk)) {
        // The gate prints to stderr only to explain why it dies; the protocol is on stdout.
        if (stream !== "stdout") continue;
        reader.onBytes(bytes);
        if (!this.#open) return;
      }
    } catch (error) {
      reader.onBroken(messageOf(error));
    } finally {
      freeBuffer(chunk);
    }
  }

  #lose(why: string): void {
    if (!this.#open) return;
    this.close();
    if (this.#reader === undefined) this.#lostBefore = why;
    else this.#reader.onEnd(why);
  }
}
