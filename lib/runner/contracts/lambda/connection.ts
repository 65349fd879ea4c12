import { messageOf } from "../../../domain/errors.ts";
import { MalformedResponse } from "../../http1/malformed-response.ts";
import { type ArrivedHead, type RequestPart, RequestReader } from "../../http1/request-reader.ts";
import type { InstanceStream, StreamReader } from "../../gate-protocol/instance-stream.ts";

/** An answer of the Runtime API. */
export interface ApiAnswer {
  readonly status: number;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

/** Takes the body of one request, and answers it. */
export interface RequestTaker {
  /** True if it is decided that the body is of no use: a client that waits for leave to send it gets the answer instead. */
  readonly refuses: boolean;
  /** Takes a piece of the body. Returns true if it keeps it, and will say so to the stream when it is passed on. */
  push(bytes: Uint8Array): boolean;
  /** Takes the end of the request. It answers now or later by `Connection.answer`. */
  end(trailers: ReadonlyMap<string, string>): void;
  /** The connection was closed before the request was complete, or before it had its answer. */
  lost(): void;
}

/** Is told that a connection was lost behind an answer, and before another request: `untouched` if not a byte of the answer has reached it. */
export type OnLostAnswer = (untouched: boolean) => void;

interface Chunk {
  readonly parts: Iterator<RequestPart, undefined>;
  readonly bytes: number;
  kept: number;
}

/** Returns what takes a request. */
export type OnRequest = (head: ArrivedHead, connection: Connection) => RequestTaker;

const PHRASES: Readonly<Record<number, string>> = {
  200: "OK",
  202: "Accepted",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  413: "Payload Too Large",
};
const CONTINUE = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n");

/**
 * One connection of a runtime: its requests are taken one behind the other. While one waits for its answer nothing more is read, so that
 * what comes behind it is bounded by the stream's credit.
 */
export class Connection implements StreamReader {
  readonly stream: InstanceStream;
  readonly #onRequest: OnRequest;
  readonly #reader = new RequestReader();
  #chunks: Uint8Array[] = [];
  /** The parts of a chunk that is being read, its length, and the bytes of it that someone has kept. */
  #reading: Chunk | undefined;
  #taker: RequestTaker | undefined;
  #head: ArrivedHead | undefined;
  #awaitsAnswer = false;
  /** The last answer, if somebody wants to know whether it was lost: where it begins in all that was written. */
  #answered: { readonly at: number; readonly onLost: OnLostAnswer } | undefined;
  #written = 0;
  #pumping = false;
  /** True if it takes no more requests. */
  #closed = false;

  constructor(stream: InstanceStream, onRequest: OnRequest) {
    this.stream = stream;
    this.#onRequest = onRequest;
  }

  onBytes(bytes: Uint8Array): void {
    // Bytes that come behind the last answer are dropped, so that a client that is still sending gets to read it.
    if (this.#closed) return this.stream.consumed(bytes.length);
    this.#chunks.push(bytes);
    this.#pump();
  }

  /** Answers are short, and events wait in the stream's queue. */
  onRoom(): void {}

  /** It has closed its side, and needs no answer any more: no runtime closes one side alone. */
  onEnd(left: number): void {
    const answered = this.#answered;
    // One that has read its answer has closed its side properly, and posts the response by another connection.
    if (answered !== undefined && this.stream.sent - left <= answered.at) this.#loseAnswer(true);
    this.#lose();
    this.stream.close();
  }

  onReset(): void {
    this.#loseAnswer(false);
    this.#lose();
  }

  /** Answers the request whose turn it is. `onLost` is called if the connection is reset before it asks for something else. */
  answer({ status, headers = [], body }: ApiAnswer, onLost?: OnLostAnswer): void {
    if (this.#closed || this.#head === undefined) return;
    const keepAlive = this.#head.keep_alive && this.#awaitsAnswer;
    const fields = [
      ...headers,
      ["Content-Length", String(body.length)] as const,
      ...(keepAlive ? [] : [["Connection", "close"] as const]),
    ];
    const lines = [
      `HTTP/1.1 ${status} ${PHRASES[status] ?? ""}`,
      ...fields.map(([name, value]) => `${name}: ${value}`),
    ];
    if (onLost !== undefined) this.#answered = { at: this.#written, onLost };
    this.#write(Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"));
    if (body.length > 0) this.#write(body);
    this.#taker = undefined;
    this.#head = undefined;
    this.#awaitsAnswer = false;
    // The app closes when it has read the answer: to close first might cut it off.
    if (keepAlive) this.#pump();
    else this.#lose();
  }

  #write(bytes: Uint8Array): void {
    this.#written += bytes.length;
    this.stream.write(bytes);
  }

  /** Returns how much of what was written had reached the connection, if the last so many bytes of those that were sent had not. */

  #loseAnswer(untouched: boolean): void {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.onLost(untouched);
  }

  #lose(): void {
    if (this.#closed) return;
    this.#closed = true;
    const left = this.#chunks.reduce((sum, { length }) => sum + length, 0);
    const { bytes, kept } = this.#reading ?? { bytes: 0, kept: 0 };
    this.#chunks = [];
    this.#reading = undefined;
    this.stream.consumed(left + bytes - kept);
    const taker = this.#taker;
    this.#taker = undefined;
    taker?.lost();
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (!this.#closed && !this.#awaitsAnswer && this.#step());
    } catch (error) {
      if (!(error instanceof MalformedResponse)) throw error;
      this.#refuse(`The request ${messageOf(error)}`);
    } finally {
      this.#pumping = false;
    }
  }

  /** Reads one part. Returns false if there is nothing left. */
  #step(): boolean {
    this.#reading ??= this.#next();
    if (this.#reading === undefined) return false;
    const reading = this.#reading;
    const { done, value } = reading.parts.next();
    if (done === true) {
      this.#reading = undefined;
      this.stream.consumed(reading.bytes - reading.kept);
    } else if (value.type === "head") this.#begin(value.head);
    else if (value.type === "body") {
      if (this.#taker?.push(value.bytes) === true) reading.kept += value.bytes.length;
    } else {
      this.#awaitsAnswer = true;
      this.#taker?.end(value.trailers);
    }
    return true;
  }

  #next(): Chunk | undefined {
    const bytes = this.#chunks.shift();
    return bytes && { parts: this.#reader.push(bytes), bytes: bytes.length, kept: 0 };
  }

  #begin(head: ArrivedHead): void {
    this.#head = head;
    this.#answered = undefined;
    this.#taker = this.#onRequest(head, this);
    const waits = head.headers.get("expect")?.toLowerCase() === "100-continue" && head.framing.kind !== "none";
    if (!waits) return;
    if (this.#taker.refuses) this.#taker.end(new Map());
    else this.#write(CONTINUE);
  }

  #refuse(problem: string): void {
    const body = Buffer.from(JSON.stringify({ errorMessage: problem, errorType: "InvalidRequest" }));
    this.#head ??= { method: "", target: "", headers: new Map(), framing: { kind: "none" }, keep_alive: false };
    const taker = this.#taker;
    this.answer({ status: 400, headers: [["Content-Type", "application/json"]], body });
    taker?.lost();
  }
}

/** Returns an answer that is a JSON document. */
export function jsonAnswer(status: number, document: Readonly<Record<string, unknown>>): ApiAnswer {
  return {
    status,
    headers: [["Content-Type", "application/json"]],
    body: Buffer.from(`${JSON.stringify(document)}\n`),
  };
}
