import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";

/** A request to submit; the tag in its body identifies it. */
export interface Order {
  readonly tag: number;
  readonly function_id: string;
  readonly body: object;
  /** If true, it is sent with an idempotency key until it is answered; otherwise once. */
  readonly insists: boolean;
}

/** Submits orders to a server that dies again and again, and logs its promises. */
export class Submitter {
  /** The invocation of each order whose 202 arrived. */
  readonly acknowledged = new Map<number, string>();
  /** Orders that were sent but not answered. */
  readonly unanswered = new Set<number>();
  /** Answers other than 202. */
  readonly refusals: string[] = [];
  #url = Promise.withResolvers<string>();
  #sent = Promise.withResolvers<void>();

  /** Continues with a new server. */
  online(url: string): void {
    this.#url.resolve(url);
  }

  /** Stops, because the server is about to die. */
  offline(): void {
    this.#url = Promise.withResolvers();
  }

  /** Resolves when the next order is sent, or after this many milliseconds. */
  async nextSent(withinMs: number): Promise<void> {
    this.#sent = Promise.withResolvers();
    await Promise.race([this.#sent.promise, Bun.sleep(withinMs)]);
  }

  /** Submits all orders, some at a time, with an average pause of this many milliseconds after each. */
  async run(orders: readonly Order[], atOnce: number, pauseMs: number): Promise<void> {
    const left = orders.values();
    const clients = Array.from({ length: atOnce }, async () => {
      for (const order of left) {
        await this.#submit(order);
        await Bun.sleep(2 * Math.random() * pauseMs);
      }
    });
    await Promise.all(clients);
  }

  async #submit(order: Order): Promise<void> {
    const { tag, function_id, body, insists } = order;
    for (;;) {
      const url = await this.#url.promise;
      const headers = insists ? { "Idempotency-Key": `order-${tag}` } : {};
      try {
        const path = `${url}/v1/functions/${function_id}/invoke?async=true`;
        const answer = fetch(path, { method: "POST", body: JSON.stringify(body), headers });
        this.#sent.resolve();
        const response = await answer;
        const text = await response.text();
        if (response.status !== 202) this.refusals.push(`${response.status} ${text}`);
        else this.acknowledged.set(tag, (JSON.parse(text) as { data: Invocation }).data.id); // what a 202 promises
        return void this.unanswered.delete(tag);
      } catch {
        this.unanswered.add(tag);
        if (!insists) return;
        // Until the test has noticed that the server died.
        await Bun.sleep(20);
      }
    }
  }
}
