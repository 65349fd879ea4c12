import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Tracing } from "../services/tracing/tracing.ts";

/** One thing that the server can do: the services for it, and the work that goes on in the background. */
export interface Capability<Services extends object = object> {
  readonly services: Services;
  /** Does what must be done before the first request. It delays the first answer, so it must be short. */
  readonly prepare?: () => void | Promise<void>;
  /** Begins the work in the background. Called once, after the first requests were answered. */
  readonly start?: () => void;
  /** Begins nothing by itself any more: the server is about to stop, and still answers requests. */
  readonly leave?: () => void;
  /** Takes on no more work, waits at most so many milliseconds for what is under way, then ends it. */
  readonly drain?: (graceMs: number) => Promise<void>;
}

/** The tools that everything in one server shares. */
export interface ServerTools {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  /** Releases what was made, last made first. */
  readonly stack: AsyncDisposableStack;
}

/** The tools of the capabilities. */
export interface Tools extends ServerTools {
  readonly metrics: Metrics;
  readonly tracing: Tracing;
}
