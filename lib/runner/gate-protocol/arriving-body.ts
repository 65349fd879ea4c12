import { freeBuffer } from "../../domain/calls/free-buffer.ts";
import { GatheredPieces } from "../../domain/calls/collected-bytes.ts";
import type { InstanceStream } from "./instance-stream.ts";

/**
 * The body of an answer that is still arriving: passes on each piece as it comes, and lets the function send more only as pieces
 * are taken. Its reader has a piece until it asks for the next one: then the memory is freed.
 */
export class ArrivingBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #source: Pick<InstanceStream, "consumed">;
  readonly #queue = new GatheredPieces();
  /** The pieces that the reader has; several may look into one buffer, one behind the other. */
  #lent: Uint8Array[] = [];
  #wanted: (() => void) | undefined;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #end: "open" | "ended" | Error = "open";
  #closed = false;

  /** `onLeft` is called when the reader wants no more. */
  constructor(source: Pick<InstanceStream, "consumed">, onLeft: () => void) {
    this.#source = source;
    const left = () => {
      const was = this.#end;
      this.#closed = true;
      this.#queue.take();
      if (was === "open") onLeft();
    };
    this.stream = new ReadableStream<Uint8Array>(
      { start: (controller) => void (this.#controller = controller), pull: () => this.#pull(), cancel: left },
      { highWaterMark: 0 },
    );
  }

  /** Takes a piece of the body. */
  push(piece: Uint8Array): void {
    if (this.#closed) return this.#source.consumed(piece.length);
    if (this.#wanted === undefined) return this.#queue.add(piece);
    this.#lend([piece]);
    this.#said();
  }

  /** Takes the end of the body. */
  end(): void {
    if (this.#end === "open") this.#end = "ended";
    this.#deliver();
  }

  /** Takes the failure of the body: what has come before is passed on. */
  fail(error: Error): void {
    if (this.#end === "open") this.#end = error;
    this.#deliver();
  }

  #pull(): Promise<void> | undefined {
    for (const piece of this.#lent) freeBuffer(piece);
    this.#lent = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wanted = resolve;
    this.#deliver();
    return this.#wanted === undefined ? undefined : promise;
  }

  /** Passes on what there is, if the reader waits. */
  #deliver(): void {
    if (this.#wanted === undefined || this.#closed) return;
    if (this.#queue.length > 0) this.#lend(this.#queue.take());
    else if (this.#end === "open") return;
    else {
      this.#closed = true;
      if (this.#end === "ended") this.#controller?.close();
      else this.#controller?.error(this.#end);
    }
    this.#said();
  }

  #lend(pieces: Uint8Array[]): void {
    for (const piece of pieces) {
      this.#source.consumed(piece.length);
      this.#controller?.enqueue(piece);
    }
    this.#lent = pieces;
  }

  /** The reader has what it has waited for. */
  #said(): void {
    const wanted = this.#wanted;
    this.#wanted = undefined;
    wanted?.();
  }
}
