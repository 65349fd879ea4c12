/** The end of a stream before its time. */
export interface StreamReset {
  /** The number of the system's error, such as 111 (ECONNREFUSED) or 104 (ECONNRESET); 0 if there was none. */
  readonly errno: number;
  /** False if it is certain that no byte of the server's has reached the app: the same bytes may go to another instance. */
  readonly delivered: boolean;
}

/** Takes what comes through a stream. The calls are synchronous. Nothing follows onReset, and nothing follows a `close()`. */
export interface StreamReader {
  /** Called with bytes of the app, which the reader may keep. */
  onBytes(bytes: Uint8Array): void;
  /** There is room for more after `write` has returned false. */
  onRoom(): void;
  /**
   * The app has closed its side, after all of its bytes. It may still read: `close()` ends the stream. Its connection had not been given
   * the last `left` bytes of those that were sent.
   */
  onEnd(left: number): void;
  /** The stream was reset, could not be connected, or its gate is gone. */
  onReset(error: StreamReset): void;
}

/** A byte stream to the port of a booted instance. */
export interface InstanceStream {
  /**
   * Takes the bytes in any case, and does not change them later: the caller must not either. Returns false if the app is to
   * read some first; then wait for `onRoom` before writing more. A stream that has ended drops them, and returns false.
   */
  write(bytes: Uint8Array): boolean;
  /** Lets the app send so many bytes more: call it as bytes are passed on. Throws a RangeError for more than have come. */
  consumed(bytes: number): void;
  /**
   * Ends the stream in both directions. What the app has not read by then may be lost. With `keepConnection` the connection may
   * serve another stream: both sides have said all that belongs to this one.
   */
  close(keepConnection?: boolean): void;
  /** The same, without its connection, for a call that has had no answer: the gate may still end the app because of it. */
  abandon(): void;
  /** Calls `run` when the gate has said the last word about the stream, or is gone; at once if that has been. */
  whenOver(run: () => void): void;
  /** The bytes that were handed to the gate. */
  readonly sent: number;
  /** The bytes that have come from the app. */
  readonly received: number;
}

/** Takes a connection of the app's, and returns what reads it. */
export type StreamAcceptor = (stream: InstanceStream) => StreamReader;
