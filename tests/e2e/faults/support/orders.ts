import type { Function } from "../../../../lib/domain/functions/functions.ts";
import type { SpawnedServer } from "../../../support/spawned-server.ts";
import type { Order } from "./submitter.ts";

/** The functions of a history: one that is reused, one with fresh containers that share a network, and one that is often too slow. */
export type HistoryFunctions = Readonly<Record<"reused" | "fresh" | "hasty", Function>>;

const RETRY: Function["retry"] = {
  max_attempts: 3,
  min_ms: 10,
  max_ms: 200,
  on: ["crash", "timeout", "non_zero_exit", "oom", "engine"],
};

/** Registers the functions of a history. `chaos` is the image of the tests that writes a diary. */
export async function createHistoryFunctions(server: SpawnedServer, chaos: string): Promise<HistoryFunctions> {
  return {
    reused: await server.createFunction(chaos, { retry: RETRY, max_calls: 0, warm_max: 4 }),
    fresh: await server.createFunction(chaos, { retry: RETRY, share_network: true }),
    hasty: await server.createFunction(chaos, { retry: RETRY, max_calls: 0, timeout_ms: 300, warm_max: 1 }),
  };
}

/** Makes orders whose runs are written into the diary at a port. */
export class OrderBook {
  readonly #functions: HistoryFunctions;
  readonly #port: number;
  readonly #random: () => number;

  constructor(functions: HistoryFunctions, { port }: { readonly port: number }, random: () => number = Math.random) {
    this.#functions = functions;
    this.#port = port;
    this.#random = random;
  }

  /** Returns an order: most are short and succeed; some take long enough to be interrupted, some fail once, some always. */
  order(tag: number): Order {
    const random = this.#random;
    const [kind, slow, failing] = [random(), random(), random()];
    const { reused, fresh, hasty } = this.#functions;
    const chosen = kind < 0.03 ? hasty : kind < 0.12 ? fresh : reused;
    const ms = Math.round(slow < 0.1 ? 300 + random() * 1_500 : random() * 60);
    const fail = failing < 0.05 ? 1_000 : failing < 0.15 ? 1 : 0;
    const body = { do: "diary", port: this.#port, tag, ms, fail };
    return { tag, function_id: chosen.id, body, insists: tag % 2 === 0 };
  }
}
