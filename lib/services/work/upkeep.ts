import type { Clock } from "../../clock.ts";
import { messageOf } from "../../domain/errors.ts";
import { ClockWatch } from "../../domain/time/set-back.ts";
import type { Logger } from "../../log.ts";
import type { End, Ledger } from "../../store/ledger.ts";
import type { CallbackService } from "../callbacks/callbacks.ts";
import type { Running } from "./attempts.ts";
import { endUnwanted } from "./end-unwanted.ts";
import type { EndJudge } from "./ends.ts";
import type { FunctionRotation } from "./function-rotation.ts";

/** The time that a lease lasts from its last renewal, in milliseconds. */
export const LEASE_MS = 30_000;
/** The interval at which all leases are renewed, in milliseconds. */
const RENEW_MS = 10_000;
/** The interval between looks for unreported changes, in milliseconds: an engine that is back, work that is due. */
export const TICK_MS = 1_000;

interface UpkeepDeps {
  readonly ledger: Ledger;
  readonly ends: EndJudge;
  readonly callbacks: Pick<CallbackService, "wake">;
  readonly rotation: FunctionRotation;
  /** The attempts that are being made, by the ids of their invocations. */
  readonly running: ReadonlyMap<string, Running>;
  /** Is told of each end that is written here: of an attempt that was lost with its server. */
  readonly onEnd: (end: End) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Does for a worker what is due by the clock. It takes over the work of earlier servers, frees what they have lost, makes ready what
 * is due, renews leases, finds what other servers have added, and puts times right that a clock wrote which was ahead.
 */
export class Upkeep {
  readonly #deps: UpkeepDeps;
  /** The work of earlier servers: to be marked as lost, then to be freed until none is left, or all freed at once after a sweep. */
  #earlier: "unmarked" | "lost" | "freed" = "unmarked";
  #isSwept = false;
  #renewedAt = -Infinity;
  readonly #watch = new ClockWatch();
  /** True if times may be stored that are ahead of the clock. */
  #isAhead = false;

  constructor(deps: UpkeepDeps) {
    this.#deps = deps;
  }

  /** Notes that all containers of earlier servers are gone. Returns whether there is work that this frees. */
  swept(): boolean {
    const isNews = !this.#isSwept;
    this.#isSwept = true;
    return isNews && this.#earlier === "lost";
  }

  /** Does what is due, and returns the milliseconds until the next time. Never rejects. */
  async run(): Promise<number> {
    const { ledger, clock, log, running } = this.#deps;
    const now = clock.now();
    try {
      if (this.#earlier === "unmarked") await this.#takeOver();
      this.#isAhead ||= this.#watch.wasSetBack(now);
      if (this.#isAhead) await this.#takeBack(now);
      // Nothing is written if there is nothing to do, so that an idle server stays idle.
      if (((await ledger.nextDue()) ?? Infinity) <= now) await this.#wakeDue(now);
      if (this.#earlier === "lost") await this.#free(this.#isSwept ? Infinity : now);
      if (ledger.isShared) {
        await endUnwanted(running, this.#deps);
        await this.#lookAround(now);
      }
      if (clock.monotonic() - this.#renewedAt >= RENEW_MS) {
        this.#renewedAt = clock.monotonic();
        if (running.size > 0) await ledger.renew(now + LEASE_MS);
      }
      // More than a batch is due already: the rest waits for its turn, so that other tasks can run.
      const next = await ledger.nextDue();
      if (next !== null) return Math.min(TICK_MS, Math.max(1, next - now));
    } catch (error) {
      log.error("queue tick failed, retrying", { problem: messageOf(error) });
    }
    return TICK_MS;
  }

  /** Marks as lost the work that an earlier server had leased: its containers may still run. */
  async #takeOver(): Promise<void> {
    const { ledger, log } = this.#deps;
    const lost = await ledger.loseMine();
    this.#earlier = "lost";
    if (lost > 0) log.warn("attempts lost with an earlier server, they will be made again", { count: lost });
    await this.#addReady();
  }

  /** Finds what other servers have added, and frees what they have lost: a lease has ended that its server has not renewed. */
  async #lookAround(now: number): Promise<void> {
    await this.#free(now);
    await this.#addReady();
  }

  async #addReady(): Promise<void> {
    const { ledger, rotation } = this.#deps;
    for (const { function_id, priority } of await ledger.ready()) rotation.add(function_id, priority);
  }

  /** Lets what was put off while the clock was ahead be due as if it had been right. */
  async #takeBack(now: number): Promise<void> {
    const { ledger, callbacks, log } = this.#deps;
    let count = 0;
    for (let taken = await ledger.takeBack(now); taken > 0; taken = await ledger.takeBack(now)) count += taken;
    this.#isAhead = false;
    if (count === 0) return;
    log.warn("the clock was ahead, what it had put off is due as if it had been right", { count });
    callbacks.wake();
  }

  async #wakeDue(now: number): Promise<void> {
    const { ledger, rotation } = this.#deps;
    for (const { function_id, priority } of await ledger.wake(now)) rotation.add(function_id, priority, 1);
  }

  /** Frees the work that was lost with an earlier server and whose lease has ended by then. */
  async #free(until: number): Promise<void> {
    const { ledger, ends, onEnd } = this.#deps;
    for (;;) {
      const lost = await ledger.lost(until);
      if (lost.length === 0) break;
      const written = await ledger.release(
        lost.map((one) => (one.cancel_asked === true ? ends.cancelled(one) : ends.lost(one))),
      );
      for (const end of written) onEnd(end);
    }
    if (until === Infinity) this.#earlier = "freed";
  }
}
