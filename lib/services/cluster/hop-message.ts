import type { BufferedRequest, FunctionRequest, FunctionResponse } from "../../domain/calls/http-message.ts";
import type { Answer } from "../calls/call.ts";

/** A call as one server passes it on to another, without its body. */
export interface HopCall {
  /** The version of Slipway that wrote it: only the same one reads it. */
  readonly slipway: string;
  readonly id: string;
  readonly function_id: string;
  readonly version: number;
  /** The last change of the function that the sender knows. */
  readonly updated_at: string;
  readonly route_id: string | null;
  readonly key_id: string | null;
  readonly collect: boolean;
  readonly request: Omit<FunctionRequest, "body">;
}

/** The beginning of the answer to it; `length` is that of a body that follows as a whole, null for one that streams. */
export interface HopAnswer extends Omit<Answer, "response"> {
  readonly response: (Omit<FunctionResponse, "body"> & { readonly length: number | null }) | null;
}

const LENGTH_BYTES = 4;
/** The first byte of an answer: an instance has been taken. It brings the head of the HTTP answer on its way. */
const ACCEPTED = Uint8Array.of(1);
/** The end of a body that streams: without it, the body was cut. */
const END = new Uint8Array(LENGTH_BYTES);

/** Returns the message of a call. */
export function encodeCall(call: HopCall, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return joined(framed(jsonOf(call)), body);
}

/** Returns the call of a message, whose signature says that `encodeCall` has made it. */
export function decodeCall(message: Uint8Array): { readonly call: HopCall; readonly body: BufferedRequest["body"] } {
  const start = LENGTH_BYTES + viewOf(message).getUint32(0);
  const call = JSON.parse(Buffer.from(message.subarray(LENGTH_BYTES, start)).toString()) as HopCall; // see above
  // A copy: what is kept of it must not keep the whole message.
  return { call, body: message.slice(start) };
}

/** Returns the message of an answer: that there will be one at once, the rest as it comes. */
export function encodeAnswer(answering: Promise<Answer>): ReadableStream<Uint8Array> {
  const pieces = piecesOf(answering);
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await pieces.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* piecesOf(answering: Promise<Answer>): AsyncGenerator<Uint8Array, undefined> {
  yield ACCEPTED;
  const { response, ...answer } = await answering;
  const body = response?.body;
  const length = body instanceof Uint8Array ? body.length : null;
  const head: HopAnswer = {
    ...answer,
    response: response && { status: response.status, headers: response.headers, length },
  };
  if (!(body instanceof ReadableStream)) {
    yield joined(framed(jsonOf(head)), body ?? new Uint8Array());
    return;
  }
  const reader = body.getReader();
  let isOver = false;
  try {
    yield framed(jsonOf(head));
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      if (piece.value.length > 0) yield framed(piece.value);
    }
    isOver = true;
    yield END;
  } finally {
    if (!isOver) await reader.cancel().catch(() => undefined);
  }
}

type Source = ReturnType<typeof sourceOf>;

function sourceOf(message: ReadableStream<Uint8Array>) {
  return message.getReader();
}

/** Reads the message of an answer. */
export class AnswerReader {
  readonly #source: Source;
  #rest: Uint8Array = new Uint8Array();

  constructor(message: ReadableStream<Uint8Array>) {
    this.#source = sourceOf(message);
  }

  /** Returns the answer. Throws if the message ends before, and its body does if it is cut. */
  async answer(): Promise<Answer> {
    await this.#take(ACCEPTED.length);
    const { response, ...answer } = JSON.parse(Buffer.from(await this.#frame()).toString()) as HopAnswer; // `encodeAnswer` made it
    if (response === null) return { ...answer, response };
    const { length, ...said } = response;
    const body = length === null ? this.#stream() : await this.#take(length);
    return { ...answer, response: { ...said, body } };
  }

  /** Gives up the message. */
  cancel(): void {
    void this.#source.cancel().catch(() => undefined);
  }

  #stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const piece = await this.#frame();
          if (piece.length > 0) controller.enqueue(piece);
          else controller.close();
        },
        cancel: () => this.cancel(),
      },
      { highWaterMark: 0 },
    );
  }

  async #frame(): Promise<Uint8Array> {
    return this.#take(viewOf(await this.#take(LENGTH_BYTES)).getUint32(0));
  }

  async #take(bytes: number): Promise<Uint8Array> {
    const pieces = [this.#rest];
    let got = this.#rest.length;
    while (got < bytes) {
      const { done, value } = await this.#source.read();
      if (done) throw new Error("The message of a server ended too early");
      pieces.push(value);
      got += value.length;
    }
    const all = pieces.length === 1 ? this.#rest : Buffer.concat(pieces);
    this.#rest = all.subarray(bytes);
    return all.subarray(0, bytes);
  }
}

function jsonOf(value: HopCall | HopAnswer): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function framed(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(LENGTH_BYTES);
  viewOf(length).setUint32(0, bytes.length);
  return joined(length, bytes);
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
