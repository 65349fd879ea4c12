import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { LATE_MS, type Schedule } from "../../../lib/domain/schedules.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { Cluster, LONG_MS } from "./support/cluster.ts";

/** `TICKS=full` is the long run. */
const FULL = process.env["TICKS"] === "full";
/** Each is due every second. */
const CRONS = FULL ? 20 : 4;
const KILLS = FULL ? 12 : 2;
/** The time from a kill to the next one, and to the start of the server that was killed. */
const { every: EVERY_MS, back: BACK_MS } = FULL ? { every: 5_000, back: 2_000 } : { every: 2_000, back: 1_000 };
const TIMEOUT_MS = FULL ? 600_000 : 180_000;

const IDS = ["a", "b", "c"];

/**
 * Notes what each transaction does: from when to when it moves schedules on, in milliseconds, and which of their invocations it
 * queues.
 */
const NOTE = `
  create table moves (n serial, transaction bigint, schedule_id text, from_ms bigint, to_ms bigint);
  create function note_move() returns trigger language plpgsql as $$
  begin
    insert into moves (transaction, schedule_id, from_ms, to_ms) values (txid_current(), new.id,
      (old.record::json ->> 'last_due')::bigint, (new.record::json ->> 'last_due')::bigint);
    return null;
  end $$;
  create trigger note_move after update on configuration for each row
    when (new.kind = 'schedules' and old.record is not null and new.record is not null) execute function note_move();
  create table runs (transaction bigint, schedule_id text);
  create function note_run() returns trigger language plpgsql as $$
  begin
    insert into runs values (txid_current(), new.record::json ->> 'schedule_id');
    return null;
  end $$;
  create trigger note_run after insert on invocations for each row execute function note_run();`;

interface Move {
  readonly schedule_id: string;
  readonly from_ms: string;
  readonly to_ms: string;
  readonly runs: number;
  /** The invocations of the schedule. */
  readonly all_runs: number;
}

let cluster: Cluster;
let fn: Function;
const servers = new Map<string, SpawnedServer>();

beforeAll(async () => {
  cluster = await Cluster.start();
  const registrar = await cluster.server("registrar");
  fn = await registrar.createFunction(await fixture("chaos"));
  registrar.kill("SIGTERM");
  await registrar.exited;
  await Promise.all(IDS.map(start));
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** Starts a server without an engine: what it queues stays there. */
async function start(id: string): Promise<void> {
  const variables = { DOCKER_HOST: "unix:///none.sock", MIN_SCHEDULE_INTERVAL_MS: "1s" };
  servers.set(id, await cluster.server(id, variables));
}

test(
  `${CRONS} schedules for every second, three servers, one of which is killed again and again: each due time has one invocation`,
  async () => {
    const first = at("a");
    await cluster.query(NOTE);
    const begun = new Map<string, number>();
    for (let n = 0; n < CRONS; n++) {
      const body = { function_id: fn.id, cron: "* * * * * *", overlap: "queue" };
      const response = await fetch(`${first.url}/v1/schedules`, { method: "POST", body: JSON.stringify(body) });
      const { data } = (await response.json()) as { data: Schedule }; // an envelope
      begun.set(data.id, Date.parse(data.created_at));
    }
    // The first to go is the one that has made them.
    const backs: Promise<void>[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const id = IDS[kill % IDS.length] ?? "";
      await backs.shift();
      at(id).kill("SIGKILL");
      await at(id).exited;
      const at_ms = Date.now();
      // Others go on while it is away.
      expect(await eventually(async () => (await behind(begun, at_ms + BACK_MS)).length === 0, LONG_MS)).toBe(true);
      backs.push(start(id));
      await Bun.sleep(Math.max(0, at_ms + EVERY_MS - Date.now()));
    }
    await Promise.all(backs);
    const until = Date.now();
    expect(await eventually(async () => (await behind(begun, until)).length === 0, LONG_MS)).toBe(true);

    const moves = await movesSoFar();
    let [ticks, late] = [0, 0];
    for (const [id, from] of begun) {
      let [last, all] = [from, 0];
      for (const { from_ms, to_ms, runs } of moves.filter(({ schedule_id }) => schedule_id === id)) {
        expect(Number(from_ms)).toBe(last);
        last = Number(to_ms);
        const due = seconds(last) - seconds(Number(from_ms));
        // A run that a busy machine has missed by more than that is not made up for.
        expect(runs).toBe(Math.min(due, seconds(LATE_MS)));
        all += runs;
        ticks += due;
        late += due - runs;
      }
      expect(moves.find(({ schedule_id }) => schedule_id === id)?.all_runs).toBe(all);
    }
    const writers = await cluster.query(
      `select holder, count(*)::integer as invocations from invocations group by holder order by holder`,
    );
    if (FULL) console.log({ due_times: ticks, too_late: late, transactions: moves.length, kills: KILLS, writers });
  },
  TIMEOUT_MS,
);

function at(id: string): SpawnedServer {
  const server = servers.get(id);
  if (server === undefined) throw new Error(`no server ${id}`);
  return server;
}

/** Returns the schedules that have not come to a time. */
async function behind(begun: ReadonlyMap<string, number>, ms: number): Promise<string[]> {
  const rows = await cluster.query<{ schedule_id: string; last: string }>(
    "select schedule_id, max(to_ms) as last from moves group by schedule_id",
  );
  const last = new Map(rows.map((row) => [row.schedule_id, Number(row.last)]));
  return [...begun.keys()].filter((id) => (last.get(id) ?? 0) < ms);
}

/** Returns all moves, in order, as of one moment: they go on. */
async function movesSoFar(): Promise<Move[]> {
  return cluster.query<Move>(
    `with per_move as (select transaction, schedule_id, count(*)::integer as runs from runs group by 1, 2),
       per_schedule as (select record::json ->> 'schedule_id' as schedule_id, count(*)::integer as runs from invocations group by 1)
     select moves.schedule_id, from_ms, to_ms, coalesce(per_move.runs, 0) as runs, coalesce(per_schedule.runs, 0) as all_runs
     from moves left join per_move using (transaction, schedule_id) left join per_schedule on per_schedule.schedule_id = moves.schedule_id
     order by n`,
  );
}

function seconds(ms: number): number {
  return Math.floor(ms / 1_000);
}
