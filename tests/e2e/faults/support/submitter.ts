import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";

/** A request that is to be submitted; its tag is in the request, and tells it apart. */
export interface Order {
  readonly tag: number;
  readonly function_id: string;
  readonly body: object;
  /** Sent again until it is answered, with a key of its own; otherwise sent once, whatever comes of it. */
  readonly insists: boolean;
}

/** Submits orders to a server that dies again and again, and keeps a log of what was promised. */
export class Submitter {
  /** The invocation of each order whose 202 arrived. */
  readonly acknowledged = new Map<number, string>();
  /** Orders that were sent, and not answered. */
  readonly unanswered = new Set<number>();
  /** What came instead of a 202 where something came. */
  readonly refusals: string[] = [];
  #url = Promise.withResolvers<string>();
  #sent = Promise.withResolvers<void>();

  /** There is a server now. */
  online(url: string): void {
    this.#url.resolve(url);
  }

  /** The server is about to die. */
  offline(): void {
    this.#url = Promise.withResolvers();
  }

  /** Settles when the next order is on its way, or nothing is for so many milliseconds. */
  async nextSent(withinMs: number): Promise<void> {
    this.#sent = Promise.withResolvers();
    await Promise.race([this.#sent.promise, Bun.sleep(withinMs)]);
  }

  /** Submits all, so many at once, with a pause of so many milliseconds on average after each. */
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
        // Until the test has noticed the death as well.
        await Bun.sleep(20);
      }
    }
  }
}
