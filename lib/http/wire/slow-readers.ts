import type { Server } from "bun";
import type { Clock } from "../../clock.ts";
import type { Undelivered } from "../../domain/calls/invocations.ts";
import { Alarm, onAbort } from "../../domain/concurrency.ts";
import { bunTimeout, type IdleTimeouts } from "./idle-timeouts.ts";
import { connectionKey, readSendQueues, type SendQueues } from "./send-queues.ts";

/** Answers from this size on are followed. Smaller ones fit into the kernel's buffer, so for Bun they are out at once. */
export const LONG_ANSWER_BYTES = 64 * 1024;

/** The longest time between two looks, in milliseconds; short time-outs need more of them. */
const LOOK_MS = 5_000;
/** The time between two looks while the server stops, in milliseconds. */
const SETTLE_MS = 50;
/** Answers after which those that are out are forgotten without waiting for the next look. */
const SWEEP_AT = 1_000;

/** An answer to be followed. */
export interface LongAnswer {
  readonly request: Request;
  readonly server: Pick<Server<unknown>, "requestIP" | "timeout" | "port"> | null;
  /** Called if the answer was cut, at most once. */
  readonly onUndelivered?: (why: Undelivered) => void;
}

/** An answer that is on its way to its reader. */
interface Reading {
  readonly request: Request;
  readonly server: NonNullable<LongAnswer["server"]>;
  /** The bytes in the kernel's buffer at the latest look. */
  queued: number;
  /** When bytes left that buffer, or could have, on the monotonic clock. */
  movedAt: number;
  /** True once the answer is to be cut because its reader takes nothing. */
  stalled: boolean;
  /** True for the answer of a function, which a server that stops waits for. */
  readonly awaited: boolean;
}

/**
 * Lets readers take their time for long answers, as long as bytes move. Bun counts the time since it could last write,
 * and Linux says so only when a third of the send buffer (up to 4 MB) is free: it would cut a reader of less than
 * 20 KB/s (oven-sh/bun#41602). So every few seconds this looks how much the kernel has still to deliver and sets Bun's
 * timer again. An answer of which nothing moved for `stall_ms` is cut.
 *
 * `requestIP` returns null once Bun has handed the whole answer to the kernel, which delivers the rest by itself.
 */
export class SlowReaders implements Disposable {
  readonly #clock: Clock;
  readonly #timeouts: IdleTimeouts;
  readonly #readQueues: () => Promise<SendQueues | undefined>;
  readonly #readings = new Set<Reading>();
  readonly #nextLook: Alarm;
  readonly #lookMs: number;
  #sweepAt = SWEEP_AT;

  constructor(deps: {
    readonly clock: Clock;
    readonly timeouts: IdleTimeouts;
    readonly readQueues?: () => Promise<SendQueues | undefined>;
  }) {
    this.#clock = deps.clock;
    this.#timeouts = deps.timeouts;
    this.#readQueues = deps.readQueues ?? readSendQueues;
    this.#nextLook = new Alarm(deps.clock, () => void this.#look());
    this.#lookMs = Math.min(LOOK_MS, deps.timeouts.keep_alive_ms / 3, deps.timeouts.stall_ms / 8);
  }

  /** Follows an answer. Call it before the answer is returned. */
  follow({ request, server, onUndelivered }: LongAnswer): void {
    if (server === null) return;
    const movedAt = this.#clock.monotonic();
    const reading = { request, server, queued: 0, movedAt, stalled: false, awaited: onUndelivered !== undefined };
    if (onUndelivered !== undefined) {
      onAbort(request.signal, () => onUndelivered(reading.stalled ? "client_stalled" : "client_closed"));
      if (request.signal.aborted) return;
    }
    this.#readings.add(reading);
    if (this.#readings.size >= this.#sweepAt) this.#sweep();
    this.#lookLater();
  }

  /** Waits until the answers of functions are out, or for so many milliseconds. */
  async settled(ms: number): Promise<void> {
    const end = this.#clock.monotonic() + ms;
    const isWaiting = () => {
      this.#sweep();
      return this.#clock.monotonic() < end && this.#readings.values().some(({ awaited }) => awaited);
    };
    while (isWaiting()) await new Promise<void>((resolve) => void this.#clock.after(SETTLE_MS, resolve));
  }

  [Symbol.dispose](): void {
    this.#nextLook[Symbol.dispose]();
    this.#readings.clear();
  }

  /** Forgets the answers that are out. */
  #sweep(): void {
    for (const reading of this.#readings) {
      if (reading.server.requestIP(reading.request) === null) this.#readings.delete(reading);
    }
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#readings.size);
  }

  async #look(): Promise<void> {
    this.#sweep();
    if (this.#readings.size === 0) return;
    const queues = await this.#readQueues();
    if (queues !== undefined) for (const reading of this.#readings) this.#judge(reading, queues);
    this.#lookLater();
  }

  /** At times that no reader keeps step with: one that takes as much as Bun adds between two looks would seem to rest. */
  #lookLater(): void {
    this.#nextLook.setSooner(this.#lookMs * (0.75 + this.#clock.random() / 2));
  }

  #judge(reading: Reading, queues: SendQueues): void {
    const { request, server, queued } = reading;
    const peer = server.requestIP(request);
    if (peer === null || server.port === undefined) return;
    const now = this.#clock.monotonic();
    reading.queued = queues.get(connectionKey(server.port, peer)) ?? 0;
    // More than before means that Bun has written, which it does also without a reader.
    if (reading.queued === 0 || reading.queued < queued) reading.movedAt = now;
    if (now - reading.movedAt < this.#timeouts.stall_ms) {
      server.timeout(request, bunTimeout(this.#timeouts.keep_alive_ms));
      return;
    }
    this.#readings.delete(reading);
    reading.stalled = true;
    server.timeout(request, 1);
  }
}
