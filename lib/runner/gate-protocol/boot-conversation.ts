import {
  bootFrame,
  callEndFrame,
  callFrame,
  finishFrame,
  openFrame,
  type BootRequest,
  type CallLimits,
  type Parting,
  startFrame,
} from "./boot-frames.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import {
  extraFrames,
  NO_EXTRAS,
  PROTOCOL_VERSION,
  ProtocolError,
  tailLimit,
  type GateExtras,
  type GateFrame,
} from "./frames.ts";
import { GateStream } from "./gate-stream.ts";
import type { InstanceStream, StreamAcceptor, StreamReader } from "./instance-stream.ts";

/** The states of a conversation; see BootConversation. */
export type BootState = "starting" | "ready" | "booting" | "serving" | "finishing" | "over";

/** A frame that says something about the instance. Those of a stream go to its reader. */
export type BootFrame = Exclude<GateFrame, { type: "data" | "credit" | "close" | "accept" }>;

/**
 * Checks what the server and one gate that boots its command say, and in which order. It does no I/O: what is to be written
 * waits for `take()`, so that all frames of one turn are one write.
 *
 *   starting    the gate has not said READY
 *   ready       it has; boot() moves on
 *   booting     LOG and TAIL frames, until BOOTED moves on to serving; FAILED, NOT_LISTENING or EXIT to over
 *   serving     the same frames, and those of streams that open() has opened; EXIT if the app ends by itself, or, behind EXPIRED,
 *               because of a limit
 *   finishing   finish() was called: as serving, but no stream can be opened
 *   over        nothing may follow
 *
 * A READY of another version moves from starting to over. A frame that the state does not allow, more bytes than there was
 * credit or allowance for, and a word about a stream that does not exist throw a ProtocolError, after which the conversation
 * cannot be used; call lose() then, as at the end of the gate's output.
 */
export class BootConversation {
  readonly #decoder = new FrameDecoder();
  readonly #wake: () => void;
  readonly #accepts: StreamAcceptor | undefined;
  readonly #streams = new Map<number, GateStream>();
  #pending: Uint8Array[] = [];
  #state: BootState = "starting";
  #logLimit = 0;
  #logLeft = 0;
  #tailLeft = 0;
  #mostStreams = 0;
  #lastStream = 0;
  /** Of an app that asks for its calls: its start counts as one. */
  #inCall = true;
  /** The ends of calls that the gate has yet to answer. */
  #usedLeft = 0;
  /** The places of extensions that have not ended. */
  #extensions: Set<number> | undefined;
  #mayStart = false;

  /**
   * `wake` is called when there is something for `take()`, and not again before it was taken; `accepts` with each connection of an
   * app that connects to ask for its calls.
   */
  constructor(wake: () => void, accepts?: StreamAcceptor) {
    this.#wake = wake;
    this.#accepts = accepts;
  }

  get state(): BootState {
    return this.#state;
  }

  /** The most streams that can be open at once, 1 to 64; 0 before BOOTED. */
  get mostStreams(): number {
    return this.#mostStreams;
  }

  /** The number of streams that are open now. */
  get openStreams(): number {
    let count = 0;
    for (const stream of this.#streams.values()) if (stream.isOpen) count++;
    return count;
  }

  /** The number of streams of which the gate has not said the last word: those that are open, and those that it has yet to close. */
  get heldStreams(): number {
    return this.#streams.size;
  }

  /** Returns all that is to be written to the gate, as one buffer, or nothing. */
  take(): Uint8Array | undefined {
    const [first, ...more] = this.#pending;
    if (first === undefined) return undefined;
    this.#pending = [];
    return more.length === 0 ? first : Buffer.concat([first, ...more]);
  }

  /** Has the gate start the command. The files of the extras are secrets: there is no context. */
  boot(request: BootRequest, extras: GateExtras = NO_EXTRAS): void {
    if (this.#state !== "ready") throw new Error(`Cannot boot with a gate that is ${this.#state}`);
    const more = extraFrames(extras);
    this.#state = "booting";
    this.#logLimit = request.logLimit;
    this.#allowLogs();
    for (const frame of [bootFrame(request, more.length), ...more]) this.#send(frame);
  }

  /** Opens a stream to the app. Throws unless the instance is serving and has room for one. */
  open(reader: StreamReader, limits?: CallLimits): InstanceStream {
    if (this.#state !== "serving") throw new Error(`Cannot open a stream while the gate is ${this.#state}`);
    if (this.openStreams >= this.#mostStreams) throw new Error(`${this.#mostStreams} streams are open already`);
    // Even numbers are the server's.
    do this.#lastStream = (this.#lastStream + 2) % 2 ** 32;
    while (this.#streams.has(this.#lastStream) || this.#lastStream === 0);
    const stream = new GateStream(this.#lastStream, reader, (frame) => this.#send(frame));
    this.#streams.set(this.#lastStream, stream);
    this.#allowLogs();
    this.#send(openFrame(this.#lastStream, limits));
    return stream;
  }

  /** Says that a call begins: the app goes on if it was frozen, and its log may reach its limit once more. */
  beginCall(limits?: CallLimits): void {
    if (this.#state !== "serving") throw new Error(`Cannot begin a call while the gate is ${this.#state}`);
    this.#inCall = true;
    this.#allowLogs();
    this.#send(callFrame(limits));
  }

  /** Says that a call, or the start of the app, has ended, if none has been told of. USED follows, unless the app ends. */
  endCall(): void {
    if (this.#state !== "serving" || !this.#inCall) return;
    this.#inCall = false;
    this.#usedLeft++;
    this.#send(callEndFrame());
  }

  /** Has the gate start the command of an app whose extensions have been started. */
  start(): void {
    if (!this.#mayStart) throw new Error("Cannot start a command that waits for no extensions");
    this.#mayStart = false;
    this.#send(startFrame());
  }

  /**
   * Has the gate end the app: SIGTERM, and SIGKILL so many milliseconds later. EXIT follows, unless it is on its way; it waits for the
   * end of extensions that part.
   */
  finish(afterMs: number, parting?: Parting): void {
    if (this.#state !== "booting" && this.#state !== "serving") return;
    this.#state = "finishing";
    this.#send(finishFrame(afterMs, parting));
  }

  /**
   * Takes a chunk of the gate's stream: calls the readers of streams, and yields what it says of the instance, all of it
   * checked. Run it to its end.
   */
  *push(chunk: Uint8Array): Generator<BootFrame, void, void> {
    for (const frame of this.#decoder.push(chunk)) {
      if (frame.type === "data") this.#stream(frame).takeBytes(frame.bytes);
      else if (frame.type === "credit") this.#stream(frame).takeCredit(frame.more);
      else if (frame.type === "close") this.#close(frame);
      else if (frame.type === "accept") this.#take(frame);
      else {
        this.#accept(frame);
        yield frame;
      }
    }
  }

  /** Resets every stream that is left: the gate is gone, or nothing that it says can be trusted. */
  lose(): void {
    this.#state = "over";
    this.#pending = [];
    const left = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of left) stream.lose();
  }

  #accept(frame: BootFrame): void {
    switch (frame.type) {
      case "ready":
        this.#require(frame, "starting");
        this.#state = frame.version === PROTOCOL_VERSION ? "ready" : "over";
        return;
      case "log":
        this.#require(frame, "booting", "serving", "finishing");
        this.#logLeft -= frame.bytes.length;
        if (this.#logLeft < 0) throw new ProtocolError("LOG frames hold more than the limit");
        return;
      case "tail":
        this.#require(frame, "booting", "serving", "finishing");
        this.#tailLeft -= frame.bytes.length;
        if (this.#tailLeft < 0) throw new ProtocolError("TAIL frames hold more than their limit");
        return;
      case "booted":
        // FINISH may have crossed it.
        this.#require(frame, "booting", "finishing");
        if (this.#mostStreams > 0) throw new ProtocolError("BOOTED came twice");
        this.#mostStreams = frame.streams;
        if (this.#state === "booting") this.#state = "serving";
        return;
      case "expired":
        return this.#require(frame, "serving", "finishing");
      case "used":
        // FINISH may have crossed it.
        this.#require(frame, "serving", "finishing");
        this.#usedLeft--;
        if (this.#usedLeft < 0) throw new ProtocolError("USED came without the end of a call");
        return;
      case "extensions":
        this.#require(frame, "booting", "finishing");
        if (this.#accepts === undefined || this.#extensions !== undefined || this.#mostStreams > 0)
          throw new ProtocolError("EXTENSIONS came out of turn");
        this.#extensions = new Set(frame.names.keys());
        this.#mayStart = this.#state === "booting";
        return;
      case "extension_end":
        this.#require(frame, "booting", "serving", "finishing");
        if (this.#extensions?.delete(frame.index) !== true)
          throw new ProtocolError("EXTENSION_END came for one that does not run");
        return;
      case "failed":
      case "not_listening":
        this.#require(frame, "booting", "serving", "finishing");
        return this.lose();
      case "exit":
        this.#require(frame, "booting", "serving", "finishing");
        if (frame.metaBytes + frame.responseBytes > 0) throw new ProtocolError("EXIT promises files of an instance");
        return this.lose();
      default:
        throw new ProtocolError(`${frame.type.toUpperCase()} came from a gate that boots its command`);
    }
  }

  #take(frame: Extract<GateFrame, { type: "accept" }>): void {
    const isFree = frame.stream % 2 === 1 && !this.#streams.has(frame.stream);
    if (this.#accepts === undefined || !isFree || this.#streams.size >= this.#mostStreams) {
      throw new ProtocolError("ACCEPT came for a stream that cannot be");
    }
    const stream = new GateStream(frame.stream, this.#accepts, (bytes) => this.#send(bytes));
    this.#streams.set(frame.stream, stream);
  }

  #stream(frame: Extract<GateFrame, { type: "data" | "credit" | "close" }>): GateStream {
    const stream = this.#streams.get(frame.stream);
    if (stream === undefined) {
      throw new ProtocolError(`${frame.type.toUpperCase()} came for a stream that is not open`);
    }
    return stream;
  }

  #close(frame: Extract<GateFrame, { type: "close" }>): void {
    const stream = this.#stream(frame);
    // First, so that its reader may open another one in its place.
    if (frame.ending !== "end") this.#streams.delete(frame.stream);
    stream.takeClose(frame.ending, frame.errno);
  }

  /** Allows the limit once more. The gate counts from the moment at which it hears of it, so that this is an upper bound. */
  #allowLogs(): void {
    this.#logLeft += this.#logLimit;
    this.#tailLeft += tailLimit(this.#logLimit);
  }

  #send(frame: Uint8Array): void {
    this.#pending.push(frame);
    if (this.#pending.length === 1) this.#wake();
  }

  #require(frame: BootFrame, ...states: readonly BootState[]): void {
    if (!states.includes(this.#state))
      throw new ProtocolError(`${frame.type.toUpperCase()} came while the gate was ${this.#state}`);
  }
}
