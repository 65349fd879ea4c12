import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";

/** A request to submit; the tag in its body identifies it. */
export interface Order {
  readonly tag: number;
  readonly function_id: string;
  readonly body: object;
  /** If true, it is sent with an idempotency key until it is acknowledged; otherwise once. */
  readonly insists: boolean;
}

interface SubmitterOptions {
  /** The time after which no answer is expected any more, in milliseconds; without it, a submitter waits until the connection ends. */
  readonly patience_ms?: number;
  /** Statuses that leave open whether the order was taken, as a missing answer does. */
  readonly unclear?: readonly number[];
}

/** Submits orders to servers that die again and again, each to any of those that are there, and logs their promises. */
export class Submitter {
  /** The invocation of each order whose 202 arrived. */
  readonly acknowledged = new Map<number, string>();
  /** Orders that were sent but not answered. */
  readonly unanswered = new Set<number>();
  /** Answers other than 202. */
  readonly refusals: string[] = [];
  readonly #options: SubmitterOptions;
  readonly #urls = new Set<string>();
  #next = 0;
  #some = Promise.withResolvers<void>();
  #sent = Promise.withResolvers<string>();

  constructor(options: SubmitterOptions = {}) {
    this.#options = options;
  }

  /** Goes on with a new server, besides those that there are. */
  online(url: string): void {
    this.#urls.add(url);
    this.#some.resolve();
  }

  /** Sends nothing more to a server, because it is about to die. */
  offline(url: string): void {
    this.#urls.delete(url);
    if (this.#urls.size === 0) this.#some = Promise.withResolvers();
  }

  /** Resolves when the next order is sent to this server, or after this many milliseconds. */
  async nextSent(url: string, withinMs: number): Promise<void> {
    const until = performance.now() + withinMs;
    let to: string | undefined;
    do {
      this.#sent = Promise.withResolvers();
      to = await Promise.race([this.#sent.promise, Bun.sleep(until - performance.now()).then(() => undefined)]);
    } while (to !== undefined && to !== url);
  }

  /** Submits all orders, some at a time, with an average pause of this many milliseconds after each. */
  async run(orders: Iterable<Order>, atOnce: number, pauseMs: number): Promise<void> {
    const left = orders[Symbol.iterator]();
    const clients = Array.from({ length: atOnce }, async () => {
      for (let next = left.next(); next.done !== true; next = left.next()) {
        await this.#submit(next.value);
        await Bun.sleep(2 * Math.random() * pauseMs);
      }
    });
    await Promise.all(clients);
  }

  async #submit(order: Order): Promise<void> {
    for (;;) {
      const url = await this.#server();
      try {
        const isAnswered = await this.#send(order, url);
        if (isAnswered) return void this.unanswered.delete(order.tag);
      } catch {
        // No answer.
      }
      this.unanswered.add(order.tag);
      if (!order.insists) return;
      // Until the test has noticed that the server died.
      await Bun.sleep(20);
    }
  }

  /** Returns whether there was an answer that leaves nothing open. */
  async #send({ tag, function_id, body, insists }: Order, url: string): Promise<boolean> {
    const { patience_ms, unclear = [] } = this.#options;
    const path = `${url}/v1/functions/${function_id}/invoke?async=true`;
    const answer = fetch(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: insists ? { "Idempotency-Key": `order-${tag}` } : {},
      ...(patience_ms !== undefined && { signal: AbortSignal.timeout(patience_ms) }),
    });
    this.#sent.resolve(url);
    const response = await answer;
    const text = await response.text();
    if (unclear.includes(response.status)) return false;
    if (response.status !== 202) this.refusals.push(`${response.status} ${text}`);
    else this.acknowledged.set(tag, (JSON.parse(text) as { data: Invocation }).data.id); // what a 202 promises
    return true;
  }

  /** Returns the servers in turns. */
  async #server(): Promise<string> {
    for (;;) {
      await this.#some.promise;
      const urls = [...this.#urls];
      const url = urls[this.#next++ % urls.length];
      if (url !== undefined) return url;
    }
  }
}
