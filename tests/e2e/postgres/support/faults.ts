import type { PrivatePostgres } from "../../../support/postgres/private-postgres.ts";
import type { Submitter } from "../../faults/support/submitter.ts";
import type { ClusterNode } from "./cluster-node.ts";

/** A way in which a part of a cluster fails. */
export const FAULTS = [
  "server killed",
  "server killed in mid-submission",
  "server frozen",
  "engine killed",
  "engine restarted",
  "engine frozen",
  "PostgreSQL killed",
  "PostgreSQL crashed",
  "PostgreSQL frozen",
  "network cut",
] as const;
export type Fault = (typeof FAULTS)[number];

/** A lease lasts 30 s: what is away for longer finds that others have its work. */
const PAST_LEASE_MS = 34_000;

interface FaultsOptions {
  readonly nodes: readonly ClusterNode[];
  readonly postgres: PrivatePostgres;
  readonly submitter: Submitter;
  readonly random: () => number;
  /** The part of the freezes, cuts and absences that last longer than a lease. */
  readonly long: number;
}

/** Lets the parts of a cluster fail, several at the same time, but none twice at once. */
export class Faults {
  readonly counts = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>; // of that list
  /** Those of the above that lasted longer than a lease. */
  outlasting = 0;
  readonly #options: FaultsOptions;
  readonly #failing = new Set<string>();
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: FaultsOptions) {
    this.#options = options;
  }

  /** Begins a fault, by default at random. Returns false if that part is failing already. */
  begin(fault: Fault = this.#any(FAULTS)): boolean {
    const node = this.#any(this.#options.nodes);
    const [part] = fault.split(" ");
    const name = part === "PostgreSQL" ? part : `${part} ${node.id}`;
    if (this.#failing.has(name)) return false;
    this.counts[fault] += 1;
    this.#failing.add(name);
    const run = this.#run(fault, node).finally(() => {
      this.#failing.delete(name);
      this.#underWay.delete(run);
    });
    this.#underWay.add(run);
    return true;
  }

  /** Waits until everything that failed is back. */
  async over(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #run(fault: Fault, node: ClusterNode): Promise<void> {
    const { postgres, submitter } = this.#options;
    switch (fault) {
      case "server killed in mid-submission":
        await submitter.nextSent(node.server.url, 1_000);
        return this.#killServer(node);
      case "server killed":
        return this.#killServer(node);
      case "server frozen":
        // Clients do not know: what they send waits in its socket.
        node.server.kill("SIGSTOP");
        await this.#while(5_000);
        return node.server.kill("SIGCONT");
      case "engine killed":
        return node.engine.kill();
      case "engine restarted":
        return node.engine.restart();
      case "engine frozen": {
        const thaw = node.engine.freeze();
        await this.#while(10_000);
        return thaw();
      }
      case "PostgreSQL killed":
        await postgres.kill();
        await Bun.sleep(this.#options.random() * 5_000);
        return postgres.start();
      case "PostgreSQL crashed":
        return postgres.crash();
      case "PostgreSQL frozen":
        postgres.freeze();
        await this.#while(10_000);
        return postgres.thaw();
      case "network cut":
        node.link.cut();
        await this.#while(10_000);
        return node.link.heal({ reset: this.#options.random() < 0.5 });
    }
  }

  async #killServer(node: ClusterNode): Promise<void> {
    const { submitter, random } = this.#options;
    await Bun.sleep(random() * 8);
    const { server } = node;
    submitter.offline(server.url);
    server.kill("SIGKILL");
    await server.exited;
    await this.#while(3_000);
    await node.start(submitter);
  }

  /** Waits for up to so many milliseconds, or at times until every lease has ended. */
  async #while(upToMs: number): Promise<void> {
    const { random, long } = this.#options;
    const outlasts = random() < long;
    if (outlasts) this.outlasting += 1;
    await Bun.sleep(outlasts ? PAST_LEASE_MS + random() * 5_000 : random() * upToMs);
  }

  #any<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.#options.random() * items.length)];
    if (item === undefined) throw new Error("There is nothing to choose from");
    return item;
  }
}
