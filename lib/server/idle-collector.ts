import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

/** The interval between looks, in milliseconds. */
const LOOK_MS = 10_000;
/** CPU time within an interval that counts as quiet. An idle process uses 20 ms; a call takes 1 to 2. */
const QUIET_CPU_MS = 50;
/** Quiet looks before a collection. The first call after one is 2 ms slower, because code is compiled again. */
const QUIET_LOOKS = 3;

/** The longest time from the last work to the collection. */
export const COLLECTED_AFTER_MS = LOOK_MS * (QUIET_LOOKS + 1);

interface CollectorDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Returns the CPU time of the process so far. */
  readonly cpuMs?: () => number;
  /** Gives memory back. */
  readonly collect?: () => void;
}

/**
 * Gives memory back after a burst of work, once. JavaScriptCore collects while it allocates and keeps what a burst took
 * for the next one; without work it would keep it forever.
 */
export class IdleCollector implements Disposable {
  readonly #deps: Required<CollectorDeps>;
  #used: number;
  #quietLooks = 0;
  #worked = true;
  #cancel: () => void = () => undefined;

  constructor(deps: CollectorDeps) {
    this.#deps = { cpuMs: processCpuMs, collect: giveBack, ...deps };
    this.#used = this.#deps.cpuMs();
  }

  start(): void {
    this.#cancel = this.#deps.clock.after(LOOK_MS, () => {
      this.#look();
      this.start();
    });
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #look(): void {
    const used = this.#deps.cpuMs();
    const quiet = used - this.#used < QUIET_CPU_MS;
    this.#used = used;
    this.#quietLooks = quiet ? this.#quietLooks + 1 : 0;
    if (!quiet) this.#worked = true;
    if (!this.#worked || this.#quietLooks < QUIET_LOOKS) return;
    this.#worked = false;
    this.#deps.collect();
    // The collection itself does not count as work.
    this.#used = this.#deps.cpuMs();
    this.#deps.log.debug("memory given back", { resident_bytes: process.memoryUsage.rss() });
  }
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Collects garbage, which is half of the memory, and drops the code compiled for the burst, which is the other half. */
function giveBack(): void {
  Bun.gc(true);
  // oxlint-disable-next-line typescript/no-deprecated -- nothing else drops compiled code
  Bun.shrink();
}
