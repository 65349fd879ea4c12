import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** A callback as the receiver sees it. */
export interface Received {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
}

/** A receiver's answer: a status, or a function that writes the response. */
type Answer = number | ((response: ServerResponse) => void);

/** A server on loopback that receives callbacks. */
export class Receiver implements AsyncDisposable {
  readonly #server: Server;
  readonly received: Received[] = [];
  readonly #waiting: (() => void)[] = [];
  /** The answer from now on. */
  answer: Answer = 204;

  private constructor() {
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // it listens on TCP
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook?a=1`;
  }

  /** Returns the `number`-th callback, counted from 1, as soon as it has arrived. */
  async get(number: number): Promise<Received> {
    for (;;) {
      const found = this.received[number - 1];
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url, headers } = request;
    const closed = new Promise<void>((resolve) => request.socket.once("close", resolve));
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer); // no encoding is set
    this.received.push({ method, url, headers, closed, body: Buffer.concat(chunks).toString() });
    for (const resolve of this.#waiting.splice(0)) resolve();
    if (typeof this.answer === "number") response.writeHead(this.answer).end("thank you");
    else this.answer(response);
  }
}
