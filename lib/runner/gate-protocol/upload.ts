/** Takes the pieces of a body. Nothing is said after `stop()`. */
interface Sink {
  /** The next piece that was asked for; none is the end. */
  readonly onPiece: (piece: Uint8Array | undefined) => void;
  /** The body does not come to its end. */
  readonly onFailure: () => void;
}

/** The reader of a body. */
interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** Reads a request body that is still arriving, one piece whenever its function can take one. */
export class Upload {
  readonly #reader: Reader;
  readonly #sink: Sink;
  #bytes = 0;
  #isReading = false;
  #isOver = false;

  constructor(body: ReadableStream<Uint8Array>, sink: Sink) {
    this.#reader = body.getReader();
    this.#sink = sink;
  }

  /** The bytes that have come. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Asks for the next piece, unless one is on its way. */
  next(): void {
    if (this.#isReading || this.#isOver) return;
    this.#isReading = true;
    void this.#read();
  }

  /** Gives up what has not come: its sender is told by the answer. */
  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    void this.#reader.cancel().catch(() => undefined);
  }

  async #read(): Promise<void> {
    try {
      let piece = await this.#reader.read();
      while (!piece.done && piece.value?.length === 0) piece = await this.#reader.read();
      this.#isReading = false;
      if (this.#isOver) return;
      this.#isOver = piece.done;
      this.#bytes += piece.value?.length ?? 0;
      this.#sink.onPiece(piece.value);
    } catch {
      if (this.#isOver) return;
      this.#isOver = true;
      this.#sink.onFailure();
    }
  }
}
