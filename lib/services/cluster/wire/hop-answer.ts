import type { FunctionResponse } from "../../../domain/calls/http-message.ts";
import { AppError } from "../../../domain/errors.ts";
import type { Answer } from "../../calls/call.ts";
import type { AnswerSeal } from "./answer-seal.ts";
import { encodeFrame, FRAME, type FrameKind, FrameReader, PIECE_BYTES } from "./hop-frames.ts";

/** The head of an answer; `length` is that of a body that has come as a whole, null for one that streams. */
interface AnswerHead extends Omit<Answer, "response"> {
  readonly response: (Omit<FunctionResponse, "body"> & { readonly length: number | null }) | null;
}

/** A call that was accepted from another server. */
export interface AcceptedCall {
  readonly answering: Promise<Answer>;
  /** The calls of this function that ready instances could serve at once besides. */
  readonly readyCalls: number;
  /** Resolves when the record of the call is final, and written if it can be; it is called when the answer is out. */
  readonly recorded: () => Promise<void>;
}

/** Returns the message of an answer: that there will be one at once, the rest as it comes. */
export function encodeAnswer(call: AcceptedCall, seal: AnswerSeal): ReadableStream<Uint8Array> {
  const frames = framesOf(call, seal);
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await frames.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => {
        await frames.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* framesOf(call: AcceptedCall, seal: AnswerSeal): AsyncGenerator<Uint8Array, undefined> {
  yield encodeFrame(seal, FRAME.accepted, jsonOf(call.readyCalls));
  const { response, ...answer } = await call.answering;
  const body = response?.body ?? new Uint8Array();
  const length = body instanceof Uint8Array ? body.length : null;
  const head: AnswerHead = {
    ...answer,
    response: response && { status: response.status, headers: response.headers, length },
  };
  const first = encodeFrame(seal, FRAME.head, jsonOf(head));
  if (body instanceof Uint8Array) yield* withWhole(first, body, seal);
  else yield* withStream(first, body, seal);
  await call.recorded();
  yield encodeFrame(seal, FRAME.recorded, new Uint8Array());
}

/** A short answer is one piece: each further one takes a turn of the event loop on both sides. */
function* withWhole(head: Uint8Array, body: Uint8Array, seal: AnswerSeal): Generator<Uint8Array, undefined> {
  let before = head;
  for (const piece of piecesOf(body)) {
    const frame = encodeFrame(seal, FRAME.body, piece);
    if (before.length + frame.length <= PIECE_BYTES) before = Buffer.concat([before, frame]);
    else {
      yield before;
      before = frame;
    }
  }
  yield Buffer.concat([before, encodeFrame(seal, FRAME.end, new Uint8Array())]);
}

async function* withStream(
  head: Uint8Array,
  body: ReadableStream<Uint8Array>,
  seal: AnswerSeal,
): AsyncGenerator<Uint8Array, undefined> {
  const reader = body.getReader();
  let isOver = false;
  try {
    yield head;
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      for (const part of piecesOf(piece.value)) yield encodeFrame(seal, FRAME.body, part);
    }
    isOver = true;
    yield encodeFrame(seal, FRAME.end, new Uint8Array());
  } finally {
    if (!isOver) await reader.cancel().catch(() => undefined);
  }
}

function* piecesOf(body: Uint8Array): Generator<Uint8Array, undefined> {
  for (let at = 0; at < body.length; at += PIECE_BYTES) yield body.subarray(at, at + PIECE_BYTES);
}

interface AnswerReaderDeps {
  readonly seal: AnswerSeal;
  /** The most bytes of a body that comes as a whole. */
  readonly whole_bytes: number;
  /** Limits the time for a frame of a body that streams. */
  readonly within: <T>(frame: Promise<T>) => Promise<T>;
}

/** Reads the message of an answer: `accepted`, then `answer`. */
export class AnswerReader {
  readonly #frames: FrameReader;
  readonly #deps: AnswerReaderDeps;
  readonly #answered = Promise.withResolvers<void>();

  constructor(message: ReadableStream<Uint8Array>, deps: AnswerReaderDeps) {
    this.#frames = new FrameReader(message, deps.seal);
    this.#deps = deps;
  }

  /** Resolves when the whole answer was read, or no more of it will be. */
  get answered(): Promise<void> {
    return this.#answered.promise;
  }

  /** Returns the number of ready calls that are left once the call has its instance. Throws if it is not certain that it has. */
  async accepted(): Promise<number> {
    return Number(textOf(await this.#content(FRAME.accepted)));
  }

  /** Returns the answer. Throws if the message ends before, and its body does if it is cut; `response_too_large` for a body over the limit. */
  async answer(): Promise<Answer> {
    const head = JSON.parse(textOf(await this.#content(FRAME.head))) as AnswerHead; // `encodeAnswer` made it
    const { response, ...answer } = head;
    if (response === null) {
      await this.#content(FRAME.end);
      this.#answered.resolve();
      return { ...answer, response };
    }
    const { length, ...said } = response;
    const body = length === null ? this.#stream() : await this.#whole(length);
    return { ...answer, response: { ...said, body } };
  }

  /** Resolves when the record of a call is written whose answer was read. Never rejects: then it is not known. */
  async recorded(): Promise<void> {
    await this.#content(FRAME.recorded).catch(() => undefined);
  }

  /** Gives up the message. */
  cancel(): void {
    this.#frames.cancel();
    this.#answered.resolve();
  }

  async #whole(length: number): Promise<Uint8Array> {
    const { whole_bytes } = this.#deps;
    if (length > whole_bytes) throw tooLarge(length, whole_bytes);
    const pieces: Uint8Array[] = [];
    let left = length;
    for (let piece = await this.#piece(); piece !== undefined; piece = await this.#piece()) {
      left -= piece.length;
      if (left < 0) throw tooLarge(length - left, length);
      pieces.push(piece);
    }
    if (left > 0) throw new Error("Its answer is shorter than it says");
    this.#answered.resolve();
    const [only] = pieces;
    return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
  }

  #stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const piece = await this.#deps.within(this.#piece());
            if (piece !== undefined) return controller.enqueue(piece);
            this.#answered.resolve();
            controller.close();
          } catch (error) {
            this.cancel();
            throw error;
          }
        },
        cancel: () => this.cancel(),
      },
      { highWaterMark: 0 },
    );
  }

  /** Returns the next piece of the body; undefined at its end. */
  async #piece(): Promise<Uint8Array | undefined> {
    const { kind, content } = await this.#frames.next();
    if (kind === FRAME.body) return content;
    if (kind === FRAME.end) return undefined;
    throw notExpected(kind);
  }

  async #content(expected: FrameKind): Promise<Uint8Array> {
    const { kind, content } = await this.#frames.next();
    if (kind !== expected) throw notExpected(kind);
    return content;
  }
}

function jsonOf(value: AnswerHead | number): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

function notExpected(kind: number): Error {
  return new Error(`Its answer has a frame of the kind ${kind} where another one belongs`);
}

function tooLarge(bytes: number, limitBytes: number): AppError {
  return new AppError(
    "response_too_large",
    `The answer of ${bytes} bytes from another server is over the limit of ${limitBytes} bytes here: give all servers the same MAX_RESPONSE_BYTES`,
  );
}
