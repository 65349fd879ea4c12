/** A row of the benchmark's table. */
export interface Row {
  readonly metric: string;
  /** The value to reach; null for a row that only informs. */
  readonly goal: number | null;
  /** An excellent value. */
  readonly stretch: number | null;
}

/** All rows, in the order of the table. Units are those of the measurement; most rows are ratios. */
export const ROWS = {
  warmDocker: {
    metric: "warm fresh call / `docker run --rm`, each after the refill and 0.4 s",
    goal: 0.008,
    stretch: 0.005,
  },
  warmSpawn: {
    metric: "warm fresh call / spawning the command on the host, each after the refill and 0.4 s",
    goal: 2.2,
    stretch: 1.6,
  },
  warmTail: { metric: "warm fresh call, p99 / p50 at 2 calls/s (open loop)", goal: 5, stretch: null },
  reuseSpawn: { metric: "reuse call / spawning the command on the host, back to back", goal: 2, stretch: 1.6 },
  reuseSpawnAsleep: { metric: "the same, each after 0.3 s of silence", goal: null, stretch: null },
  freshRate: { metric: "sustained fresh calls / the engine's own rate, bridge", goal: 0.9, stretch: null },
  freshRateShared: {
    metric: "the same with `share_network` / the engine's rate with none",
    goal: 1.5,
    stretch: null,
  },
  reuseRate: {
    metric: "reuse calls, 8 clients / two loops that spawn on the host",
    goal: 0.6,
    stretch: 0.75,
  },
  cold: { metric: "cold call / `docker run --rm`", goal: 0.75, stretch: null },
  coldShared: { metric: "the same with `share_network`", goal: 0.4, stretch: null },
  cellReuse: { metric: "call in a cell / reuse call, back to back", goal: 1.25, stretch: 1.1 },
  cellSpawn: {
    metric: "call in a cell / spawning the command on the host, each after 0.3 s of silence",
    goal: 2.2,
    stretch: 1.6,
  },
  cellEngineRate: {
    metric: "fresh calls in cells, 8 clients / the engine's own rate, bridge",
    goal: 60,
    stretch: 120,
  },
  cellProcessRate: { metric: "the same / reuse calls, 8 clients", goal: 0.6, stretch: 0.8 },
  cellMemory: {
    metric: "memory of an instance that waits with a prepared cell, beyond one without",
    goal: 1,
    stretch: 0.3,
  },
  bootedBoot: {
    metric: "call of a booted server, used once / its boot, Express on Node",
    goal: 0.05,
    stretch: null,
  },
  bootedFirst: {
    metric: "the same / the first request to a new process of the same server on the host",
    goal: null,
    stretch: null,
  },
  bootedReuse: { metric: "the same / reuse call of the contract `files`", goal: 3, stretch: null },
  bootedAskedBoot: {
    metric: "call of a booted server with a `ready_path`, used once / its boot",
    goal: 0.05,
    stretch: null,
  },
  bootedAskedReuse: { metric: "the same / reuse call of the contract `files`", goal: 3, stretch: null },
  bootedRate: {
    metric: "calls of one server, 32 clients / the same server by its address, Express on Node",
    goal: 0.45,
    stretch: null,
  },
  bootedRateBare: { metric: "the same, a bare `Bun.serve`", goal: null, stretch: null },
  lambdaReuse: {
    metric: "call of an AWS Lambda function on Node, booted ahead and used once / reuse call of the contract `files`",
    goal: 3,
    stretch: null,
  },
  lambdaReusedReuse: {
    metric: "the same, in an instance that is kept / reuse call of the contract `files`",
    goal: null,
    stretch: null,
  },
  bootedIdle: { metric: "processor time of a booted server that waits, of 10", goal: 0.1, stretch: null },
  streamFrom: {
    metric: "one stream from a server / the same by its address, Express on Node",
    goal: 0.5,
    stretch: null,
  },
  streamTo: { metric: "one stream to a server / the same by its address", goal: 0.5, stretch: null },
  streamAttach: {
    metric: "one stream through the engine alone (its attach stream, read by Bun) / from a server by its address",
    goal: null,
    stretch: null,
  },
  streamFirstByte: { metric: "first byte of a stream, later than by the server's address", goal: 5, stretch: null },
  streamStalled: {
    metric: "growth of memory by 200 MiB to a client that takes nothing for 20 s",
    goal: 32,
    stretch: null,
  },
  stdioFiles: { metric: "reuse call of the contract `stdio` / of `files`, back to back", goal: 1.2, stretch: null },
  get: { metric: "management GET, 32 clients / bare `Bun.serve`", goal: 0.7, stretch: 0.85 },
  write: { metric: "durable management write, 32 clients / bare `Bun.serve`", goal: 0.25, stretch: 0.4 },
  start: { metric: "start to the first answer, of `/healthz` / bare compiled `Bun.serve`", goal: 6, stretch: 4 },
  executable: { metric: "executable / empty compiled Bun server", goal: 106, stretch: null },
  idleMemory: { metric: "idle memory / bare compiled `Bun.serve`", goal: 2, stretch: 1.6 },
  growthByCalls: { metric: "growth of memory by 100,000 reuse calls", goal: 1, stretch: null },
  memoryAfterCalls: { metric: "idle memory after 120,000 reuse calls", goal: 76, stretch: null },
  instanceMemory: { metric: "memory of an instance that waits, of 50", goal: 6, stretch: null },
  submissions: {
    metric: "submissions (durable 202s, 32 clients) / plain SQLite inserts, a commit each",
    goal: 0.5,
    stretch: null,
  },
  submissionsBatched: { metric: "the same / plain SQLite inserts, 32 a commit", goal: null, stretch: null },
  claim: { metric: "claim with 100,000 queued, p99", goal: 2, stretch: null },
  growthByQueue: { metric: "growth of memory by 90,000 queued", goal: 2, stretch: null },
  clusterRate: {
    metric:
      "fresh calls of two servers that share PostgreSQL, each with its engine on a core of its own / of one of them",
    goal: 1.6,
    stretch: null,
  },
  startWithQueue: { metric: "start to the first answer of the API with 100,000 queued", goal: 1_000, stretch: null },
} as const satisfies Record<string, Row>;

export type RowName = keyof typeof ROWS;
