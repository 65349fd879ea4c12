import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

/** How often the collector looks. */
const LOOK_MS = 10_000;
/** What the process uses in that time while nothing is asked of it is 20 ms; a call takes 1 to 2. */
const QUIET_CPU_MS = 50;
/** After so many quiet looks. The first call after a collection is 2 ms slower, since code is compiled again. */
const QUIET_LOOKS = 3;

/** From the last work to the collection, at most. */
export const COLLECTED_AFTER_MS = LOOK_MS * (QUIET_LOOKS + 1);

/**
 * Gives memory back when work is over. The engine of the runtime collects as it allocates, and keeps for the next
 * burst what the last one took: without work it would keep that for ever. One collection after each time of work.
 */
export class IdleCollector implements Disposable {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #cpuMs: () => number;
  readonly #collect: () => void;
  #used: number;
  #quietLooks = 0;
  #worked = true;
  #cancel: () => void = () => undefined;

  /** `cpuMs` tells what the process has used so far; `collect` gives memory back. */
  constructor(options: { clock: Clock; log: Logger; cpuMs?: () => number; collect?: () => void }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#cpuMs = options.cpuMs ?? processCpuMs;
    this.#collect = options.collect ?? giveBack;
    this.#used = this.#cpuMs();
  }

  start(): void {
    this.#cancel = this.#clock.after(LOOK_MS, () => {
      this.#look();
      this.start();
    });
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #look(): void {
    const used = this.#cpuMs();
    const quiet = used - this.#used < QUIET_CPU_MS;
    this.#used = used;
    this.#quietLooks = quiet ? this.#quietLooks + 1 : 0;
    if (!quiet) this.#worked = true;
    if (!this.#worked || this.#quietLooks < QUIET_LOOKS) return;
    this.#worked = false;
    this.#collect();
    // What the collection itself took is no work.
    this.#used = this.#cpuMs();
    this.#log.debug("memory given back", { resident_bytes: process.memoryUsage.rss() });
  }
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** A collection frees half of it, and the code that was compiled for the burst is the other half. */
function giveBack(): void {
  Bun.gc(true);
  // oxlint-disable-next-line typescript/no-deprecated -- nothing else lets go of compiled code
  Bun.shrink();
}
