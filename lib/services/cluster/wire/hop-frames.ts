import { type AnswerSeal, SEAL_BYTES } from "./answer-seal.ts";

/** The kinds of frames of an answer, in their order; there is one of each but of `body`. */
export const FRAME = {
  /** An instance has been taken; with the number of calls that ready instances could serve besides. */
  accepted: 1,
  /** The answer without its body. */
  head: 2,
  /** A piece of the body. */
  body: 3,
  /** The end of the body: without it, the body was cut. */
  end: 4,
  /** The record of the call is final, and written if it can be. */
  recorded: 5,
} as const;
export type FrameKind = (typeof FRAME)[keyof typeof FRAME];

/** The most bytes of a frame: of the record and the headers of an answer. Bodies come in frames of at most so many. */
const FRAME_BYTES = 1024 * 1024;
export const PIECE_BYTES = 256 * 1024;
const LENGTH_BYTES = 4;
const HEAD_BYTES = LENGTH_BYTES + SEAL_BYTES;

/** Returns the next frame of an answer: the length of its kind and content, their signature, and both. */
export function encodeFrame(seal: AnswerSeal, kind: FrameKind, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(HEAD_BYTES + 1 + content.length);
  new DataView(frame.buffer).setUint32(0, 1 + content.length);
  frame[HEAD_BYTES] = kind;
  frame.set(content, HEAD_BYTES + 1);
  frame.set(seal.next(frame.subarray(HEAD_BYTES)), LENGTH_BYTES);
  return frame;
}

/** A frame of an answer. */
export interface Frame {
  readonly kind: number;
  readonly content: Uint8Array;
}

/** Reads the frames of an answer. It holds one, and what has come with it; nothing of one that is not signed gets out. */
export class FrameReader {
  readonly #seal: AnswerSeal;
  readonly #source: ReturnType<typeof readerOf>;
  #rest: Uint8Array = new Uint8Array();

  constructor(message: ReadableStream<Uint8Array>, seal: AnswerSeal) {
    this.#source = readerOf(message);
    this.#seal = seal;
  }

  /** Returns the next frame. Throws if the answer ends before it does, or this is no frame of the server that was asked. */
  async next(): Promise<Frame> {
    const head = await this.#take(HEAD_BYTES);
    const length = new DataView(head.buffer, head.byteOffset).getUint32(0);
    if (length < 1 || length > FRAME_BYTES) throw notSigned();
    const signature = head.subarray(LENGTH_BYTES);
    const signed = await this.#take(length);
    if (!this.#seal.isNext(signed, signature)) throw notSigned();
    return { kind: signed[0] ?? 0, content: signed.subarray(1) };
  }

  /** Reads no more of it. */
  cancel(): void {
    void this.#source.cancel().catch(() => undefined);
  }

  async #take(bytes: number): Promise<Uint8Array> {
    const pieces = [this.#rest];
    let got = this.#rest.length;
    while (got < bytes) {
      const { done, value } = await this.#source.read();
      if (done) throw new Error("Its answer ended too early");
      pieces.push(value);
      got += value.length;
    }
    const all = pieces.length === 1 ? this.#rest : Buffer.concat(pieces);
    this.#rest = all.subarray(bytes);
    return all.subarray(0, bytes);
  }
}

function readerOf(message: ReadableStream<Uint8Array>) {
  return message.getReader();
}

function notSigned(): Error {
  return new Error(
    "Its answer is not signed by the server that was asked: is ADVERTISE_URL there the address of another program?",
  );
}
