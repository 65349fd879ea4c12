import { connect, type Socket } from "node:net";

/** A connection of which a test sees every byte, and which reads only while the test lets it. */
export class RawClient implements Disposable {
  readonly #socket: Socket;
  readonly #closed = Promise.withResolvers<void>();
  #text = "";
  #isCounting = false;
  #onData: () => void = () => undefined;
  bytes = 0;

  constructor(url: string) {
    this.#socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
    this.#socket.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (!this.#isCounting) this.#text += chunk.toString("latin1");
      this.#onData();
    });
    // The bytes that came before show what the server does to the connection.
    this.#socket.on("error", () => undefined);
    this.#socket.on("close", () => {
      this.#closed.resolve();
      this.#onData();
    });
  }

  /** All that has come, unless it is only counted. */
  get text(): string {
    return this.#text;
  }

  /** Resolves when the connection is closed. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  send(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Sends bytes, and resolves when the kernel has them. */
  sent(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => void this.#socket.write(bytes, () => resolve()));
  }

  /** Waits until the text has come, and returns all that has. Throws if the connection ends before. */
  async until(text: string): Promise<string> {
    while (!this.#text.includes(text)) {
      if (this.#socket.destroyed) throw new Error(`the connection ended after ${JSON.stringify(this.#text)}`);
      await new Promise<void>((resolve) => (this.#onData = resolve));
    }
    return this.#text;
  }

  /** Takes nothing more. */
  pause(): void {
    this.#socket.pause();
  }

  /** Goes on to read, and only counts what comes. */
  count(): void {
    this.#isCounting = true;
    this.#socket.resume();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
