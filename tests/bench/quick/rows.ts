import { answered } from "../bare-server.ts";
import { residentBytes, running, type Running } from "../binary.ts";
import { rateOf } from "../compare.ts";
import { load } from "../http.ts";
import { invoke, warm } from "../sides.ts";
import { median } from "../statistics.ts";

const MIB = 1024 * 1024;
/** Clients of the rows about calls. */
const CLIENTS = 8;
/** The time for which a rate is measured in each round, in seconds. */
const SECONDS = 1;
/** The time that the engine works for the previous call once the pool is full, in milliseconds. */
const QUIET_MS = 250;
/** The time after the first answer in which a server becomes quiet, in milliseconds. */
const SETTLED_MS = 1_000;
const LATER = "async=true&delay_ms=86400000";

interface Named {
  readonly id: string;
}

/** The server of one side, with the functions that the rows call. */
export interface Side extends AsyncDisposable {
  readonly executable: string;
  readonly docker: string;
  readonly wrk: string;
  readonly url: string;
  readonly fresh: Named;
  readonly cold: Named;
  readonly reused: Named;
  readonly many: Named;
  /** Missing where the server has no cells. */
  readonly cell: Named | undefined;
}

/** Starts a server and registers its functions. */
export async function startSide(executable: string, docker: string, wrk: string, image: string): Promise<Side> {
  const server: Running = await running(executable, docker, { WARM_MAX: "100" });
  await answered(`${server.url}/healthz`);
  const create = async (settings: object): Promise<Named | undefined> => {
    const body = JSON.stringify({ image, ...settings });
    const response = await fetch(`${server.url}/v1/functions`, { method: "POST", body });
    const reply = (await response.json()) as { data: Named }; // what the API promises for a 201
    return response.status === 201 ? reply.data : undefined;
  };
  const required = async (settings: object): Promise<Named> => {
    const fn = await create(settings);
    if (fn === undefined) throw new Error(`A server does not take the settings ${JSON.stringify(settings)}`);
    return fn;
  };
  return {
    executable,
    docker,
    wrk,
    url: server.url,
    fresh: await required({ warm_max: 3 }),
    cold: await required({ warm_max: 0 }),
    reused: await required({ max_calls: 0, warm_max: 1 }),
    many: await required({ max_calls: 0, warm_max: CLIENTS }),
    cell: await create({ isolation: "cell", warm_max: CLIENTS }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Something that is measured on both sides in turns. */
export interface QuickRow {
  readonly metric: string;
  readonly unit: "ms" | "/s" | "MiB";
  readonly rounds: number;
  readonly measure: (side: Side) => Promise<number>;
}

/** Returns the median of the milliseconds that operations take, each after `settle`. */
async function took(
  count: number,
  operation: () => Promise<unknown>,
  settle?: () => Promise<unknown>,
): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    await settle?.();
    const started = performance.now();
    await operation();
    times.push(performance.now() - started);
  }
  return median(times);
}

async function coldStart({ executable, docker }: Side): Promise<number> {
  const started = performance.now();
  await using server = await running(executable, docker);
  await answered(`${server.url}/healthz`);
  return performance.now() - started;
}

async function memoryAfterStart({ executable, docker }: Side): Promise<number> {
  await using server = await running(executable, docker);
  await answered(`${server.url}/healthz`);
  await Bun.sleep(SETTLED_MS);
  return residentBytes(server.pid) / MIB;
}

function cellOf({ cell }: Side): Named {
  if (cell === undefined) throw new Error("A side has no cells");
  return cell;
}

export const QUICK_ROWS: readonly QuickRow[] = [
  {
    metric: "warm fresh call, after the refill and a pause",
    unit: "ms",
    rounds: 6,
    measure: ({ url, fresh }) =>
      took(
        3,
        () => invoke(url, fresh),
        async () => {
          await Bun.sleep(QUIET_MS / 4);
          await warm(url, fresh);
          await Bun.sleep(QUIET_MS);
        },
      ),
  },
  {
    metric: "cold call",
    unit: "ms",
    rounds: 5,
    measure: ({ url, cold }) =>
      took(
        3,
        () => invoke(url, cold),
        () => Bun.sleep(QUIET_MS),
      ),
  },
  {
    metric: "reuse call, back to back",
    unit: "ms",
    rounds: 9,
    measure: ({ url, reused }) => took(100, () => invoke(url, reused)),
  },
  {
    metric: `reuse calls, ${CLIENTS} clients`,
    unit: "/s",
    rounds: 5,
    measure: ({ url, many }) => rateOf(SECONDS, CLIENTS, () => invoke(url, many)),
  },
  {
    metric: "management GET, 32 clients",
    unit: "/s",
    rounds: 5,
    measure: ({ wrk, url, cold }) => load(wrk, `${url}/v1/functions/${cold.id}`, { seconds: SECONDS }),
  },
  {
    metric: "durable management write, 32 clients",
    unit: "/s",
    rounds: 5,
    measure: ({ wrk, url, cold }) =>
      load(wrk, `${url}/v1/functions/${cold.id}`, {
        method: "PATCH",
        body: '{"timeout_ms": 30000}',
        seconds: SECONDS,
      }),
  },
  {
    metric: "submissions (durable 202s), 32 clients",
    unit: "/s",
    rounds: 5,
    measure: ({ wrk, url, cold }) =>
      load(wrk, `${url}/v1/functions/${cold.id}/invoke?${LATER}`, {
        method: "POST",
        body: '{"do": "echo"}',
        seconds: SECONDS,
      }),
  },
  { metric: "start to the first answer", unit: "ms", rounds: 15, measure: coldStart },
  { metric: "memory a second after the start", unit: "MiB", rounds: 3, measure: memoryAfterStart },
];

/** The rows of servers that have cells. */
export const CELL_ROWS: readonly QuickRow[] = [
  {
    metric: "call in a cell, back to back",
    unit: "ms",
    rounds: 7,
    measure: (side) => took(100, () => invoke(side.url, cellOf(side))),
  },
  {
    metric: `calls in cells, ${CLIENTS} clients`,
    unit: "/s",
    rounds: 5,
    measure: (side) => rateOf(SECONDS, CLIENTS, () => invoke(side.url, cellOf(side))),
  },
];
