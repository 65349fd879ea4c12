import { afterAll, expect, test } from "bun:test";
import { databasePath } from "../../../lib/store/sqlite/store.ts";
import { scratchDirectory } from "../../store/sqlite/support/stores.ts";
import { expectWithin, processorTime } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { dashboardRequests } from "./support/dashboard-requests.ts";
import { fillDatabase } from "./support/large-database.ts";

/** `DASHBOARD=full` is the long run of `lib/docs/contributing.md`. */
const FULL = process.env["DASHBOARD"] === "full";
const SIZE = FULL ? { records: 1_000_000, functions: 10_000 } : { records: 2_000, functions: 50 };
/** The longest that a request may take, in processor time of the server and its client. */
const LIMIT_MS = 200;
/** Each request is made so often; the first answers of a server also wait for its compiler and the disk. */
const ROUNDS = FULL ? 4 : 1;

const scratch = scratchDirectory();
afterAll(() => scratch[Symbol.dispose]());

interface Took {
  readonly path: string;
  readonly first: number;
  readonly worst: number;
}

/** Makes a request some times, and returns the processor time of the first one and the most of the others. */
async function take(server: TestServer, path: string): Promise<Took> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const used = processorTime();
    const response = await fetch(server.url + path);
    await response.arrayBuffer();
    times.push(used());
    // The engine is away, and nothing is kept of an answer or a callback.
    const expected =
      path === "/readyz" ? [503] : /\/(result|callback|request|attempts)$/.test(path) ? [200, 404, 409] : [200];
    if (!expected.includes(response.status)) throw new Error(`${path} is answered with ${response.status}`);
  }
  const [first = 0, ...others] = times;
  return { path, first, worst: Math.max(...(others.length === 0 ? times : others)) };
}

test(
  "every request that the dashboard's pages make is answered, and in a long run within 200 ms with a million records",
  async () => {
    await fillDatabase(databasePath(scratch.path), SIZE);
    await using server = await TestServer.start({
      DATA_PATH: scratch.path,
      DOCKER_HOST: "unix:///nowhere/docker.sock",
      RETENTION_COUNT: String(SIZE.records),
    });
    const requests = await dashboardRequests();
    expect(requests.length).toBeGreaterThan(90);
    const took: Took[] = [];
    for (const path of requests) took.push(await take(server, path));
    const slowest = took.toSorted((a, b) => b.worst - a.worst).slice(0, 10);
    if (FULL) console.log({ requests: requests.length, slowest, first: took.toSorted((a, b) => b.first - a.first)[0] });
    await expectWithin(slowest[0]?.worst ?? Infinity, LIMIT_MS);
  },
  FULL ? 30 * 60_000 : 2 * 60_000,
);
