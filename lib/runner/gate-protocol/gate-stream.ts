import { abandonFrame, closeFrame, creditFrame, CREDIT_FROM_APP, CREDIT_TO_APP, dataFrames } from "./boot-frames.ts";
import { ProtocolError, type StreamEnding } from "./frames.ts";
import type { InstanceStream, StreamAcceptor, StreamReader } from "./instance-stream.ts";

/** ECONNRESET: the end of a stream whose gate is gone. */
const CONNECTION_RESET = 104;

/**
 * The server's end of one stream. It counts the credit of both directions: no more is sent than the gate has room for, and
 * whatever comes beyond what was allowed is a ProtocolError.
 *
 *   open      bytes go both ways; the app may end its side, after which nothing but CREDIT comes
 *   closing   the server has closed it, and what the gate still says of it is checked and dropped
 *   over      the gate has said the last word
 */
export class GateStream implements InstanceStream {
  readonly #number: number;
  readonly #reader: StreamReader;
  readonly #send: (frame: Uint8Array) => void;
  #state: "open" | "closing" | "over" = "open";
  #ended = false;
  #sent = 0;
  /** Bytes that the app has taken, as far as the gate has told. */
  #taken = 0;
  /** Bytes that exceed the credit. */
  #queue: Uint8Array[] = [];
  #full = false;
  #received = 0;
  /** Bytes that were passed on, and those of them that the gate was told of. */
  #consumed = 0;
  #returned = 0;
  #onOver: (() => void) | undefined;

  /** Takes the stream's reader, or what makes it. */
  constructor(number: number, reader: StreamReader | StreamAcceptor, send: (frame: Uint8Array) => void) {
    this.#number = number;
    this.#send = send;
    this.#reader = typeof reader === "function" ? reader(this) : reader;
  }

  get sent(): number {
    return this.#sent;
  }

  get received(): number {
    return this.#received;
  }

  /** True until the server closes it or the gate reports its end. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  write(bytes: Uint8Array): boolean {
    if (this.#state !== "open") return false;
    if (bytes.length > 0) this.#queue.push(bytes);
    this.#flush();
    this.#full = this.#room === 0;
    return !this.#full;
  }

  consumed(bytes: number): void {
    if (this.#consumed + bytes > this.#received) throw new RangeError("A stream has passed on more bytes than it got");
    this.#consumed += bytes;
    const owed = this.#consumed - this.#returned;
    // In steps that are worth a frame. An app that has ended needs no more.
    if (owed < CREDIT_FROM_APP / 2 || this.#state !== "open" || this.#ended) return;
    this.#returned = this.#consumed;
    this.#send(creditFrame(this.#number, owed));
  }

  close(keepConnection = false): void {
    const keeps = keepConnection && this.#queue.length === 0 && !this.#ended;
    this.#close(closeFrame(this.#number, keeps ? this.#received : undefined));
  }

  abandon(): void {
    this.#close(abandonFrame(this.#number));
  }

  whenOver(run: () => void): void {
    if (this.#state === "over") run();
    else this.#onOver = run;
  }

  /** Takes DATA. */
  takeBytes(bytes: Uint8Array): void {
    if (this.#ended) throw new ProtocolError("DATA came after the end of its stream");
    this.#received += bytes.length;
    if (this.#received > this.#returned + CREDIT_FROM_APP) throw new ProtocolError("DATA holds more than the credit");
    if (this.#state === "open") this.#reader.onBytes(bytes);
  }

  /** Takes CREDIT. */
  takeCredit(more: number): void {
    this.#taken += more;
    if (more === 0 || this.#taken > this.#sent) throw new ProtocolError("CREDIT is for more than was sent");
    if (this.#state !== "open") return;
    this.#flush();
    if (!this.#full || this.#room === 0) return;
    this.#full = false;
    this.#reader.onRoom();
  }

  /** Takes CLOSE, with an errno or the bytes that were written. Returns whether that was the last word about the stream. */
  takeClose(ending: StreamEnding, detail: number): boolean {
    if (ending === "end") {
      if (this.#ended) throw new ProtocolError("A stream ended twice");
      this.#ended = true;
      if (this.#state === "open") this.#reader.onEnd((this.#sent - detail) >>> 0);
      return false;
    }
    if (ending === "unconnected" && (this.#received > 0 || this.#taken > 0 || this.#ended)) {
      throw new ProtocolError("A stream that had no connection was used");
    }
    this.#reset(detail, ending === "reset" && this.#sent > 0);
    return true;
  }

  /** Ends the stream because its gate is gone. */
  lose(): void {
    this.#reset(CONNECTION_RESET, this.#sent > 0);
  }

  #reset(errno: number, delivered: boolean): void {
    const wasOpen = this.#state === "open";
    this.#state = "over";
    this.#queue = [];
    if (wasOpen) this.#reader.onReset({ errno, delivered });
    this.#onOver?.();
  }

  #close(frame: Uint8Array): void {
    if (this.#state !== "open") return;
    this.#state = "closing";
    this.#queue = [];
    this.#send(frame);
  }

  /** The bytes that may be sent now. */
  get #room(): number {
    return this.#taken + CREDIT_TO_APP - this.#sent;
  }

  /** Sends of the queue what there is credit for. */
  #flush(): void {
    while (this.#room > 0) {
      const bytes = this.#queue.shift();
      if (bytes === undefined) return;
      const now = bytes.subarray(0, this.#room);
      if (now.length < bytes.length) this.#queue.unshift(bytes.subarray(now.length));
      this.#sent += now.length;
      this.#send(dataFrames(this.#number, now));
    }
  }
}
