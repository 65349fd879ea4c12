import { FrameDecoder } from "./frame-decoder.ts";
import {
  PAYLOAD_BYTES,
  PROTOCOL_VERSION,
  ProtocolError,
  bodyFrames,
  encodeRequest,
  tailLimit,
  extraFrames,
  type ExitFrame,
  type GateExtras,
  type GateFrame,
  type GateRequest,
} from "./frames.ts";

/** A REQUEST frame without the numbers that the conversation counts itself. */
export type CallRequest = Omit<GateRequest, "bodyLength" | "extraFrames">;

/** The extras of a call that has no variables and files of its own. */
export const NO_EXTRAS: GateExtras = { environment: {}, files: [] };

/** The states of a conversation; see GateConversation. */
export type ConversationState = "starting" | "ready" | "called" | "answering" | "resetting" | "over";

/**
 * Checks what the server and one gate say, and in which order. It does no I/O.
 *
 *   starting    the gate has not said READY
 *   ready       it has; call() moves on
 *   called      LOG frames, then TAIL frames if the limit was reached, and EXPIRED at most once, until EXIT or FAILED
 *   answering   META if EXIT promised one, then RESPONSE frames until they add up to what EXIT promised
 *   resetting   the answer is complete and another call may follow: READY again moves on to ready
 *   over        nothing may follow
 *
 * A READY of another version moves from starting to over: the frame says so, and that gate cannot be called.
 * A frame that the state does not allow, logs over the limit, or a response of another length than promised throw a
 * ProtocolError, after which the conversation cannot be used.
 */
export class GateConversation {
  readonly #decoder = new FrameDecoder();
  #state: ConversationState = "starting";
  #expired = false;
  #again = false;
  #logLeft = 0;
  #tailLeft = 0;
  #responseLimit = 0;
  #meta = new Uint8Array(0);
  #metaDue = false;
  #response = new Uint8Array(0);
  #responseUsed = 0;

  get state(): ConversationState {
    return this.#state;
  }

  /** True if the deadline passed: what follows is the end of a function that was told to exit. */
  get expired(): boolean {
    return this.#expired;
  }

  /** True if the answer to the call is complete. */
  get answered(): boolean {
    return this.#state === "over" || this.#state === "resetting";
  }

  /** The bytes of response.meta.json; complete when the call is answered by an EXIT whose `metaState` is `fine`. */
  get meta(): Uint8Array {
    return this.#meta;
  }

  /** The same of response.json or response.body, by `responseState`. */
  get response(): Uint8Array {
    return this.#response;
  }

  /**
   * Returns what to write to the gate, in order: several pieces only if the body is long, so that a usual call is one
   * write. Throws if the gate is not ready: it serves one call at a time.
   */
  call(request: CallRequest, body: Uint8Array, extras = NO_EXTRAS): Iterable<Uint8Array> {
    if (this.#state !== "ready") throw new Error(`Cannot call a gate that is ${this.#state}`);
    const more = extraFrames(extras);
    const first = encodeRequest({ ...request, bodyLength: body.length, extraFrames: more.length });
    this.#state = "called";
    this.#expired = false;
    this.#again = request.again;
    this.#logLeft = request.logLimit;
    this.#tailLeft = tailLimit(request.logLimit);
    this.#responseLimit = request.responseLimit;
    this.#meta = new Uint8Array(0);
    this.#metaDue = false;
    this.#response = new Uint8Array(0);
    this.#responseUsed = 0;
    const head = [first, ...more];
    if (body.length <= PAYLOAD_BYTES) return [Buffer.concat([...head, ...bodyFrames(body)])];
    return concatenate(Buffer.concat(head), bodyFrames(body));
  }

  /** Yields the frames that end in this chunk of the gate's stream, each checked. Run it to its end. */
  *push(chunk: Uint8Array): Generator<GateFrame, void, void> {
    for (const frame of this.#decoder.push(chunk)) {
      this.#accept(frame);
      yield frame;
    }
  }

  /** Throws unless the conversation was over. Call it when the stream has ended. */
  end(): void {
    this.#decoder.end();
    if (this.#state !== "over") throw new ProtocolError(`The stream ends while the gate is ${this.#state}`);
  }

  #accept(frame: GateFrame): void {
    switch (frame.type) {
      case "ready":
        if (this.#state !== "resetting") this.#require("starting", frame);
        this.#state = frame.version === PROTOCOL_VERSION ? "ready" : "over";
        return;
      case "log":
        this.#require("called", frame);
        this.#logLeft -= frame.bytes.length;
        if (this.#logLeft < 0) throw new ProtocolError("LOG frames hold more than the limit");
        return;
      case "tail":
        this.#require("called", frame);
        if (this.#logLeft > 0) throw new ProtocolError("TAIL came before LOG frames held the limit");
        this.#tailLeft -= frame.bytes.length;
        if (this.#tailLeft < 0) throw new ProtocolError("TAIL frames hold more than their limit");
        return;
      case "expired":
        this.#require("called", frame);
        if (this.#expired) throw new ProtocolError("EXPIRED came twice");
        this.#expired = true;
        return;
      case "failed":
        this.#require("called", frame);
        this.#state = "over";
        return;
      case "exit":
        this.#require("called", frame);
        return this.#expectResponse(frame);
      case "meta":
        this.#require("answering", frame);
        return this.#takeMeta(frame.bytes);
      case "response":
        this.#require("answering", frame);
        return this.#takeResponse(frame.bytes);
    }
  }

  #expectResponse({ metaBytes, responseBytes }: ExitFrame): void {
    if (metaBytes > PAYLOAD_BYTES) throw new ProtocolError("EXIT promises a META that fits no frame");
    if (responseBytes > this.#responseLimit) throw new ProtocolError("EXIT promises a response over the limit");
    this.#meta = new Uint8Array(metaBytes);
    this.#metaDue = metaBytes > 0;
    this.#response = new Uint8Array(responseBytes);
    if (metaBytes > 0 || responseBytes > 0) this.#state = "answering";
    else this.#finish();
  }

  #takeMeta(bytes: Uint8Array): void {
    if (!this.#metaDue || bytes.length !== this.#meta.length) {
      throw new ProtocolError("META is not what EXIT promised");
    }
    this.#metaDue = false;
    this.#meta.set(bytes);
    if (this.#response.length === 0) this.#finish();
  }

  #takeResponse(bytes: Uint8Array): void {
    if (this.#metaDue) throw new ProtocolError("RESPONSE came before META");
    if (this.#responseUsed + bytes.length > this.#response.length) {
      throw new ProtocolError("RESPONSE frames hold more than EXIT promised");
    }
    this.#response.set(bytes, this.#responseUsed);
    this.#responseUsed += bytes.length;
    if (this.#responseUsed === this.#response.length) this.#finish();
  }

  /** Moves on from a complete answer. A gate whose function ran past its deadline takes no further call. */
  #finish(): void {
    this.#state = this.#again && !this.#expired ? "resetting" : "over";
  }

  #require(state: ConversationState, frame: GateFrame): void {
    if (this.#state !== state)
      throw new ProtocolError(`${frame.type.toUpperCase()} came while the gate was ${this.#state}`);
  }
}

function* concatenate(head: Uint8Array, rest: Iterable<Uint8Array>): Generator<Uint8Array, void, void> {
  yield head;
  yield* rest;
}
