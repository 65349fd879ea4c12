import { responseHeaderProblem } from "../../domain/calls/headers.ts";
import { GatheredPieces } from "../../domain/calls/collected-bytes.ts";
import type { FunctionResponse, MessageBody } from "../../domain/calls/http-message.ts";
import { retryAfterMs } from "../../domain/calls/retry-after.ts";
import { messageOf } from "../../domain/errors.ts";
import { COLLECTED_BYTES } from "../../domain/limits.ts";
import type { InstanceStream, StreamReader, StreamReset } from "../gate-protocol/instance-stream.ts";
import { MalformedResponse } from "../http1/malformed-response.ts";
import { encodeChunk, encodeRequestHead, LAST_CHUNK } from "../http1/request-head.ts";
import type { ResponseHead } from "../http1/response-head.ts";
import { type ResponsePart, ResponseReader } from "../http1/response-reader.ts";
import type { AnswerListener, Dialogue, OpenStream, StreamAnswer } from "../instance/stream-exchange.ts";
import { ClosingWatch } from "./closing-watch.ts";
import { ArrivingBody } from "../gate-protocol/arriving-body.ts";
import type { HttpRequest } from "./http-head.ts";

/** The statuses that count as a failure of the function: the caller gets them, and an asynchronous call may be tried again. */
const FAILURES: ReadonlySet<number> = new Set([408, 429]);

/** The status of an answer behind which another protocol is spoken. */
const SWITCHED = 101;

/** The reader of a request's body. */
interface Upload {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** One request and its answer, over a stream of their own. */
export class HttpDialogue implements StreamReader, Dialogue {
  readonly #listener: AnswerListener;
  readonly #stream: InstanceStream;
  readonly #reader: ResponseReader;
  readonly #coding: HttpRequest["coding"];
  readonly #now: () => number;
  readonly #wholeBody: boolean;
  readonly #isHead: boolean;
  readonly #ownOrigin: boolean;
  readonly #keepAlive: boolean;
  #upload: Upload | undefined;
  #room: (() => void) | undefined;
  #answer: StreamAnswer | undefined;
  /** The pieces of an answer that is short enough to be sent as a whole. */
  #collected: GatheredPieces | undefined;
  #arriving: ArrivingBody | undefined;
  /** Of an answer that has become a WebSocket. */
  #socket: ClosingWatch | undefined;
  #over = false;
  #sent = 0;
  #received = 0;

  constructor(
    { head, coding, own_origin = false, keep_alive = false }: HttpRequest,
    body: MessageBody,
    open: OpenStream,
    listener: AnswerListener,
    now: () => number,
  ) {
    this.#listener = listener;
    this.#coding = coding;
    this.#now = now;
    this.#wholeBody = body instanceof Uint8Array;
    this.#isHead = head.method === "HEAD";
    this.#ownOrigin = own_origin;
    this.#keepAlive = keep_alive;
    this.#reader = new ResponseReader({ method: head.method, upgrade: coding === "raw" });
    const first = encodeRequestHead(head);
    this.#stream = open(this);
    this.#stream.write(first);
    if (body instanceof Uint8Array) {
      this.#sent = body.length;
      if (body.length > 0) this.#stream.write(body);
    } else if (coding !== "none") void this.#send((this.#upload = body.getReader()));
  }

  get sent_bytes(): number {
    return this.#sent;
  }

  get response_bytes(): number {
    return this.#received;
  }

  onBytes(bytes: Uint8Array): void {
    const before = this.#received;
    this.#read(() => this.#reader.push(bytes), false);
    // Bytes that are not part of the body are used up here.
    const kept = this.#arriving === undefined ? 0 : this.#received - before;
    if (!this.#over) this.#stream.consumed(bytes.length - kept);
  }

  onRoom(): void {
    this.#room?.();
  }

  onEnd(): void {
    if (this.#reader.isEmpty) return this.#fail("The function closed the connection without an answer", true);
    this.#read(() => this.#reader.close(), true);
  }

  onReset({ delivered }: StreamReset): void {
    if (this.#over) return;
    // It has closed, and not read what its client has said since.
    if (this.#socket?.closes === true) return this.#takeEnd();
    if (!delivered && this.#reader.isEmpty) {
      this.#close();
      return this.#listener.undelivered(this.#wholeBody || this.#sent === 0);
    }
    const where = this.#answer === undefined ? "before it had answered" : "in the middle of its answer";
    this.#fail(`The function reset the connection ${where}`, true);
  }

  stop(error: Error): void {
    if (this.#over) return;
    this.#close();
    this.#arriving?.fail(error);
  }

  #read(parts: () => Iterable<ResponsePart>, lost: boolean): void {
    try {
      for (const part of parts()) {
        if (this.#over) return;
        if (part.type === "head") this.#takeHead(part.head);
        else if (part.type === "body") this.#takePiece(part.bytes);
        else this.#takeEnd();
      }
    } catch (error) {
      if (!(error instanceof MalformedResponse)) throw error;
      this.#fail(`The function's answer cannot be used, as it ${messageOf(error)}`, lost);
    }
  }

  #takeHead(head: ResponseHead): void {
    const { framing, length, status } = head;
    if (status === SWITCHED) this.#socket = new ClosingWatch();
    this.#answer = answerOf(head, { now: this.#now(), isHead: this.#isHead, ownOrigin: this.#ownOrigin });
    if (framing.kind === "none" || (length !== null && length <= COLLECTED_BYTES))
      this.#collected = new GatheredPieces();
    else {
      this.#arriving = new ArrivingBody(this.#stream, () => {
        this.#close();
        this.#listener.left();
      });
      this.#say(this.#arriving.stream);
    }
  }

  #takePiece(piece: Uint8Array): void {
    this.#received += piece.length;
    this.#socket?.push(piece);
    if (this.#arriving !== undefined) this.#arriving.push(piece);
    else this.#collected?.add(piece);
  }

  #takeEnd(): void {
    const pieces = this.#collected?.take();
    if (pieces !== undefined) {
      const [only = new Uint8Array(0)] = pieces;
      this.#say(pieces.length > 1 ? Buffer.concat(pieces) : only);
    }
    // A client that has closed has ended the request: whatever its server does then is no loss.
    const isLost = this.#socket?.closes === false && this.#upload !== undefined;
    this.#close();
    this.#arriving?.end();
    if (!isLost) return this.#listener.ended();
    const message = "The function closed the WebSocket without a close frame";
    this.#listener.failed({ reason: "invalid_response", message, lost: true });
  }

  #say(body: MessageBody): void {
    if (this.#answer === undefined) return;
    this.#listener.answered({ ...this.#answer, response: { ...this.#answer.response, body } });
  }

  #fail(message: string, lost: boolean): void {
    if (this.#over) return;
    this.#close();
    this.#arriving?.fail(new Error(message));
    this.#listener.failed({ reason: "invalid_response", message, lost });
  }

  #close(): void {
    this.#over = true;
    this.#stream.close(this.#keepAlive && this.#reader.leavesConnection);
    this.#room?.();
    // The rest of the request is not needed: its sender is told by the answer.
    void this.#upload?.cancel().catch(() => undefined);
  }

  /** Sends a body as it comes, no faster than the function reads it. */
  async #send(upload: Upload): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await upload.read();
        if (this.#over) return;
        if (done || value === undefined) break;
        if (value.length === 0) continue;
        this.#sent += value.length;
        if (!this.#stream.write(this.#coding === "chunked" ? encodeChunk(value) : value)) await this.#roomAgain();
      }
      this.#upload = undefined;
      if (this.#coding === "chunked") this.#stream.write(LAST_CHUNK);
    } catch (error) {
      // The sender of the request is gone, or it was refused: the call's signal says so, too.
      this.#fail(`The request could not be read: ${messageOf(error)}`, false);
    }
  }

  async #roomAgain(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#room = resolve;
    if (this.#over) resolve();
    await promise;
    this.#room = undefined;
  }
}

/** Judges an answer by its head. */
function answerOf(
  { status, headers }: ResponseHead,
  { now, isHead, ownOrigin }: { readonly now: number; readonly isHead: boolean; readonly ownOrigin: boolean },
): StreamAnswer {
  const response: FunctionResponse = {
    status,
    // The head alone says how long the body would be; any other body has its length by itself.
    headers: headers.filter(
      ([name]) => responseHeaderProblem(name, ownOrigin) === undefined || (isHead && name === "content-length"),
    ),
    body: new Uint8Array(0),
  };
  if (status < 500 && !FAILURES.has(status)) {
    return { status: "succeeded", reason: null, message: null, wish: {}, response };
  }
  const [, after] = headers.find(([name]) => name === "retry-after") ?? [];
  const retry_after_ms = retryAfterMs(after, now);
  // A malformed header gives 0 as well, which is not a wish to be called again at once.
  const wish = retry_after_ms === 0 ? {} : { retry_after_ms };
  return { status: "failed", reason: "function_failed", message: `The function answered ${status}`, wish, response };
}
