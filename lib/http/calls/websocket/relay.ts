import type { ReadableStreamDefaultReader } from "node:stream/web";
import type { ServerWebSocket } from "bun";
import type { Clock } from "../../../clock.ts";
import { AppError, messageOf } from "../../../domain/errors.ts";
import { BadFrame, clientFrame, closePayload, FrameReader, NO_CODE, type Opcode, type Said } from "./frames.ts";

/** Returns what the record of a call says whose function sends what is no WebSocket. */
function wrongFrames(error: BadFrame): AppError {
  return new AppError("invalid_response", `The function's WebSocket is not valid: ${messageOf(error)}`);
}

/** The most bytes that may wait for the function, unless a single message of its client is longer. */
const WAITING_BYTES = 1024 * 1024;
/** The time that a function has to close its side after its client has closed, in milliseconds. */
const CLOSE_MS = 2_000;

/** The codes that a client or a server may give to close with (RFC 6455, 7.4); others have another meaning or none. */
function isSayable(code: number): boolean {
  return (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);
}

const CODES = { failed: 1011, overloaded: 1013, protocol: 1002 } as const;
/** The code that Bun tells of a connection that ended without a close frame. */
const LOST = 1006;

/** The type that `getReader` returns; the global type has one more method, of Bun. */
type BodyReader = ReadableStreamDefaultReader<Uint8Array>;

interface RelayDeps {
  readonly clock: Clock;
  /** Counts bytes that wait for the function; the returned function ends that. */
  readonly hold: (bytes: number) => () => void;
}

/**
 * Passes messages between a client's WebSocket, which Bun speaks, and that of a function. Towards the function it is a client of
 * its own, whose frames are the body of the request; the frames of the function are the body of the answer. It reads from the
 * function only as fast as its client does.
 */
export class WebSocketRelay {
  readonly #deps: RelayDeps;
  readonly #waiting: { readonly frame: Uint8Array; readonly release: () => void }[] = [];
  #waitingBytes = 0;
  #hasEnded = false;
  #isClosed = false;
  #wake: () => void = () => undefined;
  #drained: () => void = () => undefined;
  #reader: BodyReader | undefined;
  #cancelClose: () => void = () => undefined;

  constructor(deps: RelayDeps) {
    this.#deps = deps;
  }

  /** The frames for the function. */
  readonly upload = new ReadableStream<Uint8Array>(
    { pull: (controller) => this.#give(controller), cancel: () => this.#release() },
    { highWaterMark: 0 },
  );

  /** Begins to pass on what the function says, once its client has the connection. */
  open(socket: ServerWebSocket<unknown>, body: ReadableStream<Uint8Array>): void {
    const reader = body.getReader();
    this.#reader = reader;
    void this.#pass(socket, reader);
  }

  message(socket: ServerWebSocket<unknown>, message: string | Uint8Array): void {
    const bytes = typeof message === "string" ? Buffer.from(message) : message;
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes.length > WAITING_BYTES) {
      socket.close(CODES.overloaded, "The function does not take messages as fast as they come: send them again later");
      return;
    }
    this.#send(typeof message === "string" ? "text" : "binary", bytes);
  }

  drain(): void {
    this.#drained();
  }

  /** Takes the end of the client's connection: the function is told, and has some time to close its side. */
  close(code: number, reason: string): void {
    this.#isClosed = true;
    this.#drained();
    if (code !== LOST) this.#send("close", closePayload(isSayable(code) ? code : NO_CODE, reason));
    this.#end();
    this.#cancelClose = this.#deps.clock.after(code === LOST ? 0 : CLOSE_MS, () => this.#leave());
  }

  #leave(): void {
    this.#release();
    void this.#reader?.cancel().catch(() => undefined);
  }

  async #pass(socket: ServerWebSocket<unknown>, reader: BodyReader): Promise<void> {
    const frames = new FrameReader();
    try {
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        for (const said of frames.push(piece.value)) await this.#say(socket, said);
      }
      // A function that has said goodbye has closed it already.
      if (!this.#isClosed) socket.close(CODES.failed, "The function closed the connection");
    } catch (error) {
      const isBad = error instanceof BadFrame;
      if (!this.#isClosed) {
        socket.close(isBad ? CODES.protocol : CODES.failed, isBad ? messageOf(error) : "The function was lost");
      }
      if (isBad) void reader.cancel(wrongFrames(error)).catch(() => undefined);
    } finally {
      this.#cancelClose();
      this.#release();
    }
  }

  async #say(socket: ServerWebSocket<unknown>, said: Said): Promise<void> {
    if (said.type === "ping") return this.#pong(said.bytes);
    if (said.type === "pong" || this.#isClosed) return;
    if (said.type === "close") {
      if (isSayable(said.code)) socket.close(said.code, said.reason);
      else socket.close();
      return;
    }
    const sent = said.type === "text" ? socket.send(said.text) : socket.send(said.bytes);
    if (sent !== -1) return;
    // It waits for its reader, as must what comes behind it until all of it is out: Bun drops what would be too much.
    while (!this.#isClosed && socket.getBufferedAmount() > 0) {
      await new Promise<void>((resolve) => (this.#drained = resolve));
    }
  }

  /** Answers a ping. One that comes before earlier answers were read needs none of its own (RFC 6455, 5.5.3). */
  #pong(bytes: Uint8Array): void {
    if (this.#waitingBytes < WAITING_BYTES) this.#send("pong", bytes);
  }

  #send(opcode: Opcode, payload: Uint8Array): void {
    if (this.#hasEnded) return;
    const frame = clientFrame(opcode, payload, crypto.getRandomValues(new Uint8Array(4)));
    this.#waiting.push({ frame, release: this.#deps.hold(frame.length) });
    this.#waitingBytes += frame.length;
    this.#wake();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#wake();
  }

  async #give(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#waiting.length === 0 && !this.#hasEnded) await new Promise<void>((resolve) => (this.#wake = resolve));
    const next = this.#waiting.shift();
    if (next === undefined) return controller.close();
    next.release();
    this.#waitingBytes -= next.frame.length;
    controller.enqueue(next.frame);
  }

  #release(): void {
    for (const { release } of this.#waiting.splice(0)) release();
    this.#waitingBytes = 0;
    this.#end();
  }
}
