import type { Clock } from "../../clock.ts";
import { Alarm, deadline, aborted } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { Span } from "./span.ts";

/** The ends that wait for the collector: as many as spans in OpenTelemetry's own queue (OTEL_BSP_MAX_QUEUE_SIZE). */
const WAITING = 2_048;
/** The ends of one request to the collector: some 130 spans, which take 2 ms of the event loop. */
const BATCH = 32;
/** The longest time from an end to its export, and the pause after an export that failed, in milliseconds. */
const DELAY_MS = 1_000;
const PAUSE_MS = 5_000;
/** The shortest time between two lines in the log, in milliseconds. */
const SILENCE_MS = 60_000;
/** The most time that the last export may take when the server stops, in milliseconds. */
const LAST_MS = 2_000;

interface QueueDeps {
  /** Sends spans; rejects if the collector has not taken them. */
  readonly send: (spans: readonly Span[]) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Keeps the ends of calls until their spans are exported, off the path of calls. Its length is bounded: what a collector that is
 * away or slow has no room for is dropped and counted.
 */
export class SpanQueue implements AsyncDisposable {
  readonly #deps: QueueDeps;
  readonly #alarm: Alarm;
  #waiting: (() => readonly Span[])[] = [];
  #sending: Promise<void> | undefined;
  #dropped = 0;
  #saidAt = -Infinity;
  /** True from an export that failed to the next one that did not. */
  #hasFailed = false;
  /** True if the log has a line about that. */
  #hasSaid = false;
  #isStopped = false;

  constructor(deps: QueueDeps) {
    this.#deps = deps;
    this.#alarm = new Alarm(deps.clock, () => this.#flushLater());
  }

  /** The ends of calls, attempts and callbacks whose spans were dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes an end. Its spans are made when their turn comes. */
  add(make: () => readonly Span[]): void {
    if (this.#waiting.length >= WAITING) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(make);
    if (this.#waiting.length === 1 && this.#sending === undefined) this.#alarm.setSooner(this.#pause);
    if (this.#waiting.length >= BATCH && !this.#hasFailed) this.#flushLater();
  }

  /** Sends what is left, for at most two seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    this.#alarm[Symbol.dispose]();
    using limit = deadline(this.#deps.clock, LAST_MS);
    const rest = async () => {
      await this.#sending;
      while (this.#waiting.length > 0 && !limit.signal.aborted) await this.#send();
    };
    await Promise.race([rest(), aborted(limit.signal)]);
    this.#dropped += this.#waiting.length;
    this.#waiting = [];
  }

  get #pause(): number {
    return this.#hasFailed ? PAUSE_MS : DELAY_MS;
  }

  #flushLater(): void {
    if (this.#sending !== undefined || this.#isStopped) return;
    this.#alarm.clear();
    this.#sending = this.#send().finally(() => {
      this.#sending = undefined;
      if (this.#isStopped || this.#waiting.length === 0) return;
      if (this.#waiting.length >= BATCH && !this.#hasFailed) this.#flushLater();
      else this.#alarm.set(this.#pause);
    });
  }

  /** Sends a batch. Never rejects. */
  async #send(): Promise<void> {
    const batch = this.#waiting.splice(0, BATCH);
    try {
      await this.#deps.send(batch.flatMap((make) => make()));
      if (this.#hasSaid) this.#deps.log.info("spans are exported again", { dropped: this.#dropped });
      this.#hasFailed = false;
      this.#hasSaid = false;
    } catch (error) {
      this.#dropped += batch.length;
      this.#hasFailed = true;
      this.#say(error);
    }
  }

  #say(error: unknown): void {
    const { clock, log } = this.#deps;
    const now = clock.monotonic();
    if (now - this.#saidAt < SILENCE_MS) return;
    this.#saidAt = now;
    this.#hasSaid = true;
    const what = "spans were not exported: is OTEL_EXPORTER_OTLP_ENDPOINT right, and its collector up?";
    log.warn(what, { problem: messageOf(error), dropped: this.#dropped });
  }
}
