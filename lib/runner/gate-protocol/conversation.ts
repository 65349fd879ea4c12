import { CreditedBody } from "./credited-body.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import {
  FUNCTION_STREAM,
  NO_EXTRAS,
  PAYLOAD_BYTES,
  PROTOCOL_VERSION,
  ProtocolError,
  bodyFrames,
  encodeRequest,
  tailLimit,
  extraFrames,
  type ExitFrame,
  type GateFrame,
  type GateRequest,
} from "./frames.ts";

/** A REQUEST frame without the numbers that the conversation counts itself. */
export interface CallRequest extends Omit<GateRequest, "bodyLength" | "extraFrames"> {
  /** True for a gate of the contract `stdio`: the function reads the body while it runs, and its output is the response. */
  readonly streamed?: boolean;
}

/** The states of a conversation; see GateConversation. */
export type ConversationState = "starting" | "ready" | "called" | "answering" | "resetting" | "over";

/**
 * Checks what the server and one gate say, and in which order. It does no I/O.
 *
 *   starting    the gate has not said READY
 *   ready       it has; call() moves on
 *   called      LOG frames, then TAIL frames if the limit was reached, and EXPIRED at most once, until EXIT or FAILED; if
 *               the call is streamed, also CREDIT and DATA frames
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
  /** The body of a streamed call; nothing for any other. */
  #body: CreditedBody | undefined;
  readonly #output: Uint8Array[] = [];

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

  /** The same of response.json or response.body, by `responseState`; or of the output of a streamed call. */
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
    this.#output.length = 0;
    this.#body = request.streamed === true ? new CreditedBody(body) : undefined;
    const head = [first, ...more];
    if (this.#body !== undefined) return joined(Buffer.concat(head), this.#body.next());
    if (body.length <= PAYLOAD_BYTES) return [Buffer.concat([...head, ...bodyFrames(body)])];
    return concatenate(Buffer.concat(head), bodyFrames(body));
  }

  /** True if part of the body of a streamed call was not sent: its gate takes no other call before that has ended. */
  get owes(): boolean {
    return this.#body?.isOwed ?? false;
  }

  /**
   * Yields what may be written to the gate after a frame of it: more of the body after CREDIT, its early end after EXIT. Only a
   * gate that serves another call waits for that end.
   */
  *rest(): Generator<Uint8Array, void, void> {
    if (this.#state === "called") yield* this.#body?.next() ?? [];
    else if (this.#state === "resetting") yield* this.#body?.end() ?? [];
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
      case "data":
        return this.#takeOutput(frame);
      case "credit":
        return this.#streamed(frame.stream, frame).allow(frame.more);
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
      case "booted":
      case "not_listening":
      case "accept":
      case "close":
        throw new ProtocolError(`${frame.type.toUpperCase()} came from a gate that boots nothing`);
    }
  }

  /** Returns the body of the call, which must be streamed and under way. */
  #streamed(stream: number, frame: GateFrame): CreditedBody {
    this.#require("called", frame);
    if (this.#body !== undefined && stream === FUNCTION_STREAM) return this.#body;
    throw new ProtocolError(`${frame.type.toUpperCase()} came for a stream that is not open`);
  }

  #takeOutput(frame: Extract<GateFrame, { type: "data" }>): void {
    this.#streamed(frame.stream, frame);
    this.#responseUsed += frame.bytes.length;
    if (this.#responseUsed > this.#responseLimit) throw new ProtocolError("DATA frames hold more than the limit");
    this.#output.push(frame.bytes);
  }

  #expectResponse({ metaBytes, responseBytes }: ExitFrame): void {
    if (this.#body !== undefined) return this.#endOutput(metaBytes + responseBytes);
    if (metaBytes > PAYLOAD_BYTES) throw new ProtocolError("EXIT promises a META that fits no frame");
    if (responseBytes > this.#responseLimit) throw new ProtocolError("EXIT promises a response over the limit");
    this.#meta = new Uint8Array(metaBytes);
    this.#metaDue = metaBytes > 0;
    this.#response = new Uint8Array(responseBytes);
    if (metaBytes > 0 || responseBytes > 0) this.#state = "answering";
    else this.#finish();
  }

  #endOutput(promised: number): void {
    if (promised > 0) throw new ProtocolError("EXIT promises files, and the call was streamed");
    this.#response = Buffer.concat(this.#output);
    this.#output.length = 0;
    this.#finish();
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

/** Yields the head together with the first frame of the body, then the rest: a usual call is one write. */
function* joined(head: Uint8Array, body: Generator<Uint8Array, void, void>): Generator<Uint8Array, void, void> {
  const first = body.next();
  yield first.done === true ? head : Buffer.concat([head, first.value]);
  yield* body;
}

function* concatenate(head: Uint8Array, rest: Iterable<Uint8Array>): Generator<Uint8Array, void, void> {
  yield head;
  yield* rest;
}
