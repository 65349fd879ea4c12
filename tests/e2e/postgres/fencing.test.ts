import { SQL } from "bun";
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Attempt } from "../../../lib/domain/calls/attempts.ts";
import type { ContractName } from "../../../lib/domain/functions/contract.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { Receiver } from "../../support/receiver.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { Diary } from "../faults/support/diary.ts";
import { Cluster, LONG_MS } from "./support/cluster.ts";
import { diarist } from "./support/diarist.ts";

/** Leases last 30 s; what comes before and after starts containers, on a busy machine. */
const TIMEOUT_MS = 240_000;
/**
 * The most that a run takes: longer than all of them, and the server that is stopped, take to begin on a busy machine. The holds of
 * work end about when the leases do, so this takes no time.
 */
const RUN_MOST_MS = 30_000;
/** The same for a run that is held just before the stop. */
const BRIEF_MOST_MS = 20_000;
/** The event of an end that came too late. */
const DROPPED = "an attempt ended after its lease, its result is dropped";

/** A call, and what it is at when its server is stopped. */
interface Case {
  readonly contract: ContractName;
  readonly settings?: Partial<Function>;
  readonly stopped: "in mid-run" | "before its end" | "before the handover";
}

const CASES: Readonly<Record<string, Case>> = {
  files: { contract: "files", stopped: "in mid-run" },
  stdio: { contract: "stdio", stopped: "in mid-run" },
  cell: { contract: "files", settings: { isolation: "cell", max_calls: 0 }, stopped: "in mid-run" },
  http: { contract: "http", stopped: "in mid-run" },
  http_kept: { contract: "http", settings: { max_calls: 0 }, stopped: "in mid-run" },
  lambda: { contract: "lambda", settings: { max_calls: 0 }, stopped: "in mid-run" },
  files_result: { contract: "files", stopped: "before its end" },
  http_result: { contract: "http", stopped: "before its end" },
  held: { contract: "http", stopped: "before the handover" },
};

let cluster: Cluster;
let diary: Diary;
let receiver: Receiver;

beforeAll(async () => {
  cluster = await Cluster.start();
  diary = new Diary();
  receiver = await Receiver.start();
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
  diary[Symbol.dispose]();
});

/** Submits a call of a function of its own, and returns the id of the invocation. */
async function submit(server: SpawnedServer, { contract, settings, stopped }: Case): Promise<string> {
  // Long enough for its work to be locked between the claim and the hold.
  const brief = stopped === "before the handover";
  const fn = await server.createFunction(await fixture("bun"), {
    timeout_ms: brief ? BRIEF_MOST_MS : RUN_MOST_MS,
    callback_url: receiver.url,
    ...settings,
    ...diarist(contract, brief ? 3_000 : 0),
  });
  return cluster.submitted(server, fn, { port: diary.port, brief });
}

/** Stops a server while the hold of an invocation's work waits for the database, which then grants it. */
async function stopAtHold(server: SpawnedServer, id: string): Promise<void> {
  expect(await eventually(async () => (await cluster.holderOf(id)) !== null, LONG_MS)).toBe(true);
  await using sql = new SQL(cluster.postgres.url("postgres"), { max: 1 });
  await sql.begin(async (transaction) => {
    await transaction`select 1 from work where invocation_id = ${id} for update`;
    const waits = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%invocation_id = $%'`;
    expect(await eventually(async () => (await cluster.query(waits)).length > 0, LONG_MS)).toBe(true);
    server.kill("SIGSTOP");
  });
}

async function read<T>({ url }: SpawnedServer, path: string): Promise<T> {
  return ((await (await fetch(`${url}${path}`)).json()) as { data: T }).data; // an envelope
}

/** Returns the number of ends that a server has counted. */
async function counted({ url }: SpawnedServer): Promise<number> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n");
  const ends = lines.filter((line) => line.startsWith("slipway_invocations_total{"));
  return ends.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

test(
  "a server stopped past its leases: its runs have ended before the others begin, and its late ends change nothing",
  async () => {
    const a = await cluster.server("a", { CALLBACK_ALLOW: "127.0.0.1" });
    const ids: Record<string, string> = {};
    for (const [name, one] of Object.entries(CASES)) {
      if (one.stopped !== "before the handover") ids[name] = await submit(a, one);
    }
    const begun = Object.keys(ids).length;
    expect(await eventually(() => diary.runs.length === begun, LONG_MS)).toBe(true);
    for (const [name, one] of Object.entries(CASES)) {
      if (one.stopped === "before the handover") await stopAtHold(a, (ids[name] = await submit(a, one)));
    }
    for (const [name, { stopped }] of Object.entries(CASES)) {
      if (stopped === "before its end") diary.askToEnd(ids[name] ?? "");
    }
    const b = await cluster.server("b", { CALLBACK_ALLOW: "127.0.0.1" });
    for (const id of Object.values(ids)) expect((await cluster.ended(b, id)).status).toBe("succeeded");
    a.kill("SIGCONT");
    const dropped = () => a.log.filter(({ event }) => event === DROPPED).map(({ request_id }) => String(request_id));
    expect(await eventually(() => dropped().length === Object.keys(ids).length, LONG_MS)).toBe(true);
    expect(dropped().toSorted()).toEqual(Object.values(ids).toSorted());

    const runs = diary.byInvocation();
    for (const [name, { stopped }] of Object.entries(CASES)) {
      const id = ids[name] ?? "";
      const [first, second, ...more] = runs.get(id) ?? [];
      const had = stopped === "before the handover" ? [first] : [first, second];
      expect({ name, more, ended: had.map((run) => run?.ended) }).toEqual({
        name,
        more: [],
        ended: { "in mid-run": [false, true], "before its end": [true, true], "before the handover": [true] }[stopped],
      });
      if (second !== undefined)
        expect({ name, apart: (first?.last ?? Infinity) < second.began }).toEqual({ name, apart: true });
      for (const server of [a, b]) {
        expect(await cluster.recordOf(server, id)).toMatchObject({ status: "succeeded", attempts: 2, reason: null });
        const attempts = await read<Attempt[]>(server, `/v1/invocations/${id}/attempts`);
        expect(attempts.map(({ status }) => status)).toEqual(["lost", "succeeded"]);
        expect(await (await fetch(`${server.url}/v1/invocations/${id}/result`)).json()).toEqual({ run: had.length });
      }
    }
    expect(await eventually(() => receiver.received.length >= Object.keys(ids).length, LONG_MS)).toBe(true);
    const told = receiver.received.map(({ headers }) => String(headers["webhook-id"]));
    expect(told.toSorted()).toEqual(Object.values(ids).toSorted());
    const stats = await read<{ totals: { calls: number; succeeded: number } }>(b, "/v1/stats");
    expect(stats).toMatchObject({ totals: { calls: told.length, succeeded: told.length } });
    expect((await counted(a)) + (await counted(b))).toBe(told.length);
  },
  TIMEOUT_MS,
);
