// Imported one by one: the whole package takes 10 ms to load, with a push gateway, clustering and default metrics.
import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import Histogram from "prom-client/lib/histogram.js";
import Registry from "prom-client/lib/registry.js";

/** Reads the values of a metric at a scrape. */
export type Sample = () => readonly { readonly labels?: Record<string, string>; readonly value: number }[];

/** Histogram buckets in seconds, from a warm call to the longest timeout. */
const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
const ENGINE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** The metrics of one server, in Prometheus form. */
export class Metrics {
  readonly #registry = new Registry();

  readonly invocations = new Counter({
    name: "slipway_invocations_total",
    help: "Invocations that ended, by function, status and start (cold, warm, or none if no instance was reached)",
    labelNames: ["function", "status", "start"],
    registers: [this.#registry],
  });
  readonly rejections = new Counter({
    name: "slipway_rejections_total",
    help: "Calls that were rejected before they became an invocation, by reason",
    labelNames: ["reason"],
    registers: [this.#registry],
  });
  readonly queueSeconds = this.#histogram(
    "slipway_queue_seconds",
    "Time that calls waited for admission",
    CALL_BUCKETS,
    ["function"],
  );
  readonly startSeconds = this.#histogram(
    "slipway_start_seconds",
    "Time that calls waited for an instance",
    CALL_BUCKETS,
    ["function"],
  );
  readonly runSeconds = this.#histogram(
    "slipway_run_seconds",
    "Time from handing over the request to the end of the function",
    CALL_BUCKETS,
    ["function"],
  );
  readonly bootSeconds = this.#histogram(
    "slipway_boot_seconds",
    "Time that instances of the contract http took until they listened",
    CALL_BUCKETS,
    ["function"],
  );
  readonly bootFailures = new Counter({
    name: "slipway_boot_failures_total",
    help: "Instances of the contract http that did not boot, by reason",
    labelNames: ["reason"],
    registers: [this.#registry],
  });
  readonly firstByteSeconds = this.#histogram(
    "slipway_first_byte_seconds",
    "Time from handing over the request to the head of the answer of a function that streams",
    CALL_BUCKETS,
    ["function"],
  );
  readonly bodyBytes = new BodyBytes();
  readonly engineCalls = new Counter({
    name: "slipway_engine_calls_total",
    help: "Requests to the engine, by operation",
    labelNames: ["operation"],
    registers: [this.#registry],
  });
  readonly engineErrors = new Counter({
    name: "slipway_engine_errors_total",
    help: "Requests to the engine that failed or were refused, by operation",
    labelNames: ["operation"],
    registers: [this.#registry],
  });
  readonly engineSeconds = this.#histogram(
    "slipway_engine_seconds",
    "Duration of requests to the engine",
    ENGINE_BUCKETS,
    ["operation"],
  );
  readonly pulls = new Counter({
    name: "slipway_pulls_total",
    help: "Image pulls, by result (ok, or the reason of the failure)",
    labelNames: ["result"],
    registers: [this.#registry],
  });
  readonly recordsDropped = new Counter({
    name: "slipway_records_dropped_total",
    help: "Invocation records that could not be stored",
    registers: [this.#registry],
  });

  constructor() {
    const counter: Counter = new Counter({
      name: "slipway_body_bytes_total",
      help: "Bytes of the bodies of requests and of answers of invocations that ended, by function and direction",
      labelNames: ["function", "direction"],
      registers: [this.#registry],
      collect: () => {
        counter.reset();
        for (const [labels, bytes] of this.bodyBytes.samples()) counter.inc(labels, bytes);
      },
    });
  }

  #histogram(name: string, help: string, buckets: number[], labelNames: string[]): Histogram {
    return new Histogram({ name, help, buckets, labelNames, registers: [this.#registry] });
  }

  /** Adds a gauge whose values are read at each scrape. */
  gauge(name: string, help: string, labelNames: readonly string[], sample: Sample): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect: () => {
        gauge.reset();
        for (const { labels, value } of sample()) gauge.set(labels ?? {}, value);
      },
    });
  }

  /** Adds a counter that is kept elsewhere and read at each scrape. */
  counter(name: string, help: string, total: () => number): void {
    const counter: Counter = new Counter({
      name,
      help,
      registers: [this.#registry],
      collect: () => {
        counter.reset();
        counter.inc(total());
      },
    });
  }

  /** Drops the series of a deleted function, so that they do not accumulate. */
  forget(functionLabel: string): void {
    const { queueSeconds, startSeconds, bootSeconds, firstByteSeconds, runSeconds } = this;
    for (const histogram of [queueSeconds, startSeconds, bootSeconds, firstByteSeconds, runSeconds])
      histogram.remove({ function: functionLabel });
    this.bodyBytes.forget(functionLabel);
    for (const status of ["succeeded", "failed", "timed_out", "cancelled"]) {
      for (const start of ["cold", "warm", "none"]) this.invocations.remove({ function: functionLabel, status, start });
    }
  }

  /** Returns the text of `/metrics` and its content type. */
  async render(): Promise<{ readonly text: string; readonly contentType: string }> {
    return { text: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }
}

/** Sums of the bytes of bodies: two additions a call, where a counter with labels takes a microsecond. */
class BodyBytes {
  readonly #sums = new Map<string, { request: number; response: number }>();

  /** Adds the bodies of a call of a function. */
  add(functionLabel: string, request: number, response: number): void {
    const sums = this.#sums.get(functionLabel);
    if (sums === undefined) this.#sums.set(functionLabel, { request, response });
    else {
      sums.request += request;
      sums.response += response;
    }
  }

  forget(functionLabel: string): void {
    this.#sums.delete(functionLabel);
  }

  /** Returns the sums with their labels. */
  samples(): (readonly [{ readonly function: string; readonly direction: "request" | "response" }, number])[] {
    return [...this.#sums].flatMap(([name, { request, response }]) => [
      [{ function: name, direction: "request" }, request] as const,
      [{ function: name, direction: "response" }, response] as const,
    ]);
  }
}
