import { CreditedBody } from "./credited-body.ts";
import { CreditedOutput } from "./credited-output.ts";
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
export interface CallRequest extends Omit<GateRequest, "bodyLength" | "openBody" | "extraFrames"> {
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
 *               the call is streamed, also CREDIT and DATA frames, which the conversation does not keep
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
  /** Its output. */
  #output: CreditedOutput | undefined;

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
   * write. Throws if the gate is not ready: it serves one call at a time. No body is one of a streamed call that `add` brings.
   */
  call(request: CallRequest, body: Uint8Array | undefined, extras = NO_EXTRAS): Iterable<Uint8Array> {
    if (this.#state !== "ready") throw new Error(`Cannot call a gate that is ${this.#state}`);
    const more = extraFrames(extras);
    const lengths = { bodyLength: body?.length ?? 0, openBody: body === undefined, extraFrames: more.length };
    const first = encodeRequest({ ...request, ...lengths });
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
    const streams = request.streamed === true;
    this.#body = streams ? new CreditedBody(body) : undefined;
    this.#output = streams ? new CreditedOutput(request.responseLimit) : undefined;
    const head = [first, ...more];
    if (this.#body !== undefined) return joined(Buffer.concat(head), this.#body.next());
    if (body === undefined) throw new Error("Only a streamed call has a body that is still to come");
    if (body.length <= PAYLOAD_BYTES) return [Buffer.concat([...head, ...bodyFrames(body)])];
    return concatenate(Buffer.concat(head), bodyFrames(body));
  }

  /** True if part of the body of a streamed call was not sent: its gate takes no other call before that has ended. */
  get owes(): boolean {
    return this.#body?.isOwed ?? false;
  }

  /** The bytes of the body of a streamed call that were sent. */
  get sentBytes(): number {
    return this.#body?.sent ?? 0;
  }

  /** True if `add` may bring the next piece of the body. */
  get wantsMore(): boolean {
    return this.#state === "called" && this.#body?.wantsMore === true;
  }

  /** Yields what to write to the gate for the next piece of the body; for its end if there is none. Only if `wantsMore`. */
  *add(piece: Uint8Array | undefined): Generator<Uint8Array, void, void> {
    this.#body?.add(piece);
    yield* this.rest();
  }

  /** Notes that so many bytes of the output were passed on. Returns what to write to the gate then, if anything. */
  consumed(bytes: number): Uint8Array | undefined {
    const frame = this.#output?.consumed(bytes);
    return this.#state === "called" ? frame : undefined;
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
        return this.#streamed(frame).output.take(frame.bytes.length);
      case "credit":
        return this.#streamed(frame).body.allow(frame.more);
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
      case "used":
      case "extensions":
      case "extension_end":
      case "close":
        throw new ProtocolError(`${frame.type.toUpperCase()} came from a gate that boots nothing`);
    }
  }

  /** Returns body and output of the call, which must be streamed and under way. */
  #streamed(frame: Extract<GateFrame, { type: "data" | "credit" }>) {
    this.#require("called", frame);
    const [body, output] = [this.#body, this.#output];
    if (body !== undefined && output !== undefined && frame.stream === FUNCTION_STREAM) return { body, output };
    throw new ProtocolError(`${frame.type.toUpperCase()} came for a stream that is not open`);
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
