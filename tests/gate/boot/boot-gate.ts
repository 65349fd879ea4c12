import type { BootFrame } from "../../../lib/runner/gate-protocol/boot-conversation.ts";
import { BootConversation } from "../../../lib/runner/gate-protocol/boot-conversation.ts";
import type { BootRequest, CallLimits } from "../../../lib/runner/gate-protocol/boot-frames.ts";
import type { GateExtras } from "../../../lib/runner/gate-protocol/frames.ts";
import type {
  InstanceStream,
  StreamAcceptor,
  StreamReader,
  StreamReset,
} from "../../../lib/runner/gate-protocol/instance-stream.ts";
import { GATE, type GateOptions } from "../support/gate-process.ts";

export interface BootOptions extends GateOptions, Partial<BootRequest>, Partial<GateExtras> {
  /** Takes the connections of an app that connects. */
  readonly accepts?: StreamAcceptor;
  /** Hears what the gate says of the instance, as it comes. */
  readonly hears?: (frame: BootFrame, conversation: BootConversation) => void;
}

/** Returns the command that runs app.ts. */
export function app(mode: string, port: number, address = "127.0.0.1", ...flags: readonly string[]): string[] {
  return [process.execPath, `${import.meta.dir}/app.ts`, mode, String(port), address, ...flags];
}

/** A gate that boots its command, as a plain process with pipes, and the server's side of the conversation. */
export class BootGate implements AsyncDisposable {
  readonly conversation: BootConversation;
  readonly frames: BootFrame[] = [];
  /** The error that broke the conversation, if one did. */
  problem: unknown;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #done: Promise<void>;
  readonly #hears: BootOptions["hears"];
  #isDone = false;
  #arrival = Promise.withResolvers<void>();

  constructor(command: readonly string[], { prefix = [], env, cwd, gate = GATE, accepts, hears }: BootOptions = {}) {
    this.#hears = hears;
    this.conversation = new BootConversation(() => queueMicrotask(() => this.#flush()), accepts);
    this.#child = Bun.spawn([...prefix, gate, "--boot", "--", ...command], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#done = this.#read();
  }

  /** Starts a gate and has it boot a command that listens on a port. */
  static async boot(command: readonly string[], port: number, options: BootOptions = {}): Promise<BootGate> {
    const gate = new BootGate(command, options);
    await gate.expect("ready");
    gate.boot({ ports: [port], ...options });
    return gate;
  }

  /** The same, and waits until it listens. */
  static async booted(command: readonly string[], port: number, options: BootOptions = {}): Promise<BootGate> {
    const gate = await BootGate.boot(command, port, options);
    await gate.expect("booted");
    return gate;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  /** The app's output, in LOG and TAIL frames. */
  get logs(): string {
    const pieces = this.frames.flatMap((frame) =>
      frame.type === "log" || frame.type === "tail" ? [Buffer.from(frame.bytes)] : [],
    );
    return Buffer.concat(pieces).toString();
  }

  boot(options: BootOptions & Pick<BootRequest, "ports">): void {
    const { freeze = false, serve = false, bootTimeoutMs = 30_000, logLimit = 1 << 20, ports } = options;
    const { environment = {}, files = [] } = options;
    this.conversation.boot({ freeze, serve, bootTimeoutMs, logLimit, ports }, { environment, files });
  }

  open(limits?: CallLimits): TestStream {
    return new TestStream((reader) => this.conversation.open(reader, limits));
  }

  /** Waits until a frame of that type has come, and returns the first one. */
  async expect<T extends BootFrame["type"]>(type: T): Promise<Extract<BootFrame, { type: T }>> {
    await this.until(() => this.frames.some((frame) => frame.type === type));
    const found = this.frames.find((frame) => frame.type === type);
    // The line above has checked the discriminant, which a generic does not narrow.
    return found as Extract<BootFrame, { type: T }>;
  }

  /** Waits until something holds, which can only change when the gate says something. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.#isDone) throw new Error(`The gate's output has ended: ${Bun.inspect(this.problem ?? this.frames)}`);
      await this.#arrival.promise;
    }
  }

  /** Writes bytes that the conversation knows nothing of. */
  send(bytes: Uint8Array): void {
    void this.#child.stdin.write(bytes);
    void this.#child.stdin.flush();
  }

  async hangUp(): Promise<void> {
    await this.#child.stdin.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hangUp();
    await this.exited;
    await this.#done;
  }

  #flush(): void {
    const bytes = this.conversation.take();
    if (bytes !== undefined) this.send(bytes);
  }

  async #read(): Promise<void> {
    try {
      for await (const chunk of this.#child.stdout) {
        for (const frame of this.conversation.push(chunk)) {
          this.frames.push(frame);
          this.#hears?.(frame, this.conversation);
        }
        this.#wake();
      }
    } catch (error) {
      this.problem = error;
    }
    this.#isDone = true;
    this.conversation.lose();
    this.#wake();
  }

  #wake(): void {
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers();
  }
}

/** Opens a gate whose app connects to `port`, and collects the connections. */
export async function serving(command: readonly string[], port: number, freeze = false) {
  const connections: TestStream[] = [];
  const gate = await BootGate.booted(command, port, {
    serve: true,
    freeze,
    accepts: (stream) => {
      const connection = new TestStream(() => stream);
      connections.push(connection);
      return connection;
    },
  });
  return { gate, connections };
}

/**
 * Returns whether an app that ticks every 5 ms stands still while no stream is open. It has to be calm first: ask until it does.
 */
export async function standsStill(gate: BootGate): Promise<boolean> {
  const before = await ticksOf(gate);
  await Bun.sleep(300); // 60 ticks, if it ran
  return (await ticksOf(gate)) - before < 20;
}

async function ticksOf(gate: BootGate): Promise<number> {
  const stream = gate.open();
  stream.write("x");
  const text = await stream.rest();
  stream.stream.close();
  await gate.until(() => gate.conversation.heldStreams === 0);
  return Number(text);
}

/** A stream that keeps what it gets. It gives the credit back at once, unless `reads` is false. */
export class TestStream implements StreamReader {
  readonly stream: InstanceStream;
  reads = true;
  /** The number of times that there was room again. */
  rooms = 0;
  ended = false;
  reset: StreamReset | undefined;
  readonly #pieces: Uint8Array[] = [];
  #change = Promise.withResolvers<void>();

  constructor(open: (reader: StreamReader) => InstanceStream) {
    this.stream = open(this);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  get text(): string {
    return this.bytes.toString();
  }

  write(text: string | Uint8Array): boolean {
    return this.stream.write(typeof text === "string" ? Buffer.from(text) : text);
  }

  /** Waits until something holds that what comes through the stream can change. */
  async until(holds: (stream: TestStream) => boolean): Promise<void> {
    while (!holds(this)) await this.#change.promise;
  }

  /** Waits for the end of the app's side, or of the stream, and returns what has come. */
  async rest(): Promise<string> {
    await this.until(({ ended, reset }) => ended || reset !== undefined);
    return this.text;
  }

  onBytes(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    if (this.reads) this.stream.consumed(bytes.length);
    this.#changed();
  }

  onRoom(): void {
    this.rooms++;
    this.#changed();
  }

  onEnd(): void {
    this.ended = true;
    this.#changed();
  }

  onReset(error: StreamReset): void {
    this.reset = error;
    this.#changed();
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}
