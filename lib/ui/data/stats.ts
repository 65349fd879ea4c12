/** The spread of a duration, in milliseconds. */
export interface Spread {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** The figures of the calls that ended in some time. */
export interface Figures {
  readonly calls: number;
  readonly errors: number;
  readonly error_ratio: number | null;
  readonly calls_per_s: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly timed_out: number;
  readonly cancelled: number;
  readonly dead: number;
  readonly cold: number;
  readonly warm: number;
  readonly cold_ratio: number | null;
  readonly reasons: Readonly<Record<string, number>>;
  readonly duration_ms: Spread | null;
  readonly queue_ms: Spread | null;
  readonly start_ms: Spread | null;
  readonly run_ms: Spread | null;
}

/** The answer of `GET /v1/stats`. */
export interface Stats {
  readonly since: string;
  readonly until: string;
  readonly step_ms: number;
  readonly totals: Figures;
  readonly points: readonly (Figures & { readonly at: string })[];
}
