import { Database } from "bun:sqlite";
import { join } from "node:path";
import type { Attempt } from "../../../../lib/domain/calls/attempts.ts";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { Diary, DiaryRun } from "./diary.ts";
import type { Submitter } from "./submitter.ts";

/** The exit code of a function that could not reach the diary: bridges fail while an engine restarts. */
const NO_DIARY = 75;

/** An invocation as the server shows it, and the order that it belongs to. */
export interface Kept {
  readonly record: Invocation;
  readonly attempts: readonly Attempt[];
  readonly tag: number;
}

/** Reads all asynchronous invocations of a database that no server has open. */
export function readHistory(dataPath: string): readonly Kept[] {
  using database = new Database(join(dataPath, "database.db"));
  const attempts = Map.groupBy(
    database.query<Attempt & { invocation_id: string }, []>("select * from attempts order by attempt").all(),
    ({ invocation_id }) => invocation_id,
  );
  const rows = database.query<Invocation & { request: Uint8Array }, []>(
    "select invocations.*, request from invocations join payloads on invocation_id = id where mode = 'async'",
  );
  return rows.all().map((record) => ({
    record,
    attempts: attempts.get(record.id) ?? [],
    tag: (JSON.parse(Buffer.from(record.request).toString()) as { tag: number }).tag, // an order's body
  }));
}

/** Returns the result of SQLite's check of a database. */
export function quickCheck(dataPath: string): readonly unknown[] {
  using database = new Database(join(dataPath, "database.db"));
  return database.query("pragma quick_check").all();
}

/** Returns the figures of a history: its submissions, invocations, attempts and runs. */
export function figuresOf(
  kept: readonly Kept[],
  { acknowledged, unanswered }: Submitter,
  diary: Diary,
): Readonly<Record<string, number>> {
  const attempts = kept.flatMap((one) => one.attempts);
  return {
    acknowledged: acknowledged.size,
    never_answered: unanswered.size,
    invocations: kept.length,
    succeeded: kept.filter(({ record }) => record.status === "succeeded").length,
    dead: kept.filter(({ record }) => record.status === "dead").length,
    attempts: attempts.length,
    attempts_lost: attempts.filter(({ status }) => status === "lost").length,
    runs: diary.runs.length,
    runs_without_diary: attempts.filter(({ exit_code }) => exit_code === NO_DIARY).length,
    runs_cut_short: diary.runs.filter(({ ended }) => !ended).length,
  };
}

/** Returns what is wrong with a history; empty if all promises were kept. */
export function problemsOf(kept: readonly Kept[], { acknowledged, unanswered }: Submitter, diary: Diary): string[] {
  const byId = new Map(kept.map((one) => [one.record.id, one]));
  const runs = diary.byInvocation();
  const promised = [...acknowledged].flatMap(([tag, id]) => {
    const one = byId.get(id);
    if (one === undefined) return [`order ${tag}: its invocation ${id} is lost`];
    return one.tag === tag ? [] : [`order ${tag}: its invocation ${id} is order ${one.tag}`];
  });
  const twice = [...Map.groupBy(kept, ({ tag }) => tag)]
    .filter(([, invocations]) => invocations.length > 1)
    .map(([tag, invocations]) => `order ${tag}: ${invocations.length} invocations`);
  const unknown = kept
    .filter(({ tag, record }) => acknowledged.get(tag) !== record.id && !unanswered.has(tag))
    .map(({ tag, record }) => `order ${tag}: nobody was told of its invocation ${record.id}`);
  const strangers = [...runs.keys()].filter((id) => !byId.has(id)).map((id) => `${id} ran and is not known`);
  const each = kept.flatMap((one) => invocationProblems(one, runs.get(one.record.id) ?? []));
  return [...promised, ...twice, ...unknown, ...strangers, ...each];
}

function invocationProblems({ record, attempts }: Kept, runs: readonly DiaryRun[]): string[] {
  const { id, status } = record;
  const last = attempts.at(-1)?.status;
  const told = attempts.filter((attempt) => attempt.exit_code !== null && attempt.exit_code !== NO_DIARY);
  const succeeded = attempts.filter((attempt) => attempt.status === "succeeded").length;
  const beside = runs.slice(1).filter((run, index) => run.began <= (runs[index]?.last ?? 0));
  const facts: readonly (readonly [boolean, string])[] = [
    [status === "succeeded" || status === "dead", `is ${status}`],
    [record.attempts === attempts.length, `has ${record.attempts} attempts, of which ${attempts.length} are recorded`],
    [attempts.every(({ attempt }, index) => attempt === index + 1), "has attempts with wrong numbers"],
    [attempts.every((attempt) => attempt.status !== "running" && attempt.finished_at !== null), "has an open attempt"],
    [succeeded === (status === "succeeded" ? 1 : 0), `is ${status} with ${succeeded} attempts that succeeded`],
    [(last === "succeeded") === (status === "succeeded"), `is ${status} after an attempt that ${last}`],
    [runs.length <= attempts.length, `ran ${runs.length} times in ${attempts.length} attempts`],
    [runs.length >= told.length, `ran ${runs.length} times, and ${told.length} attempts say they did`],
    [beside.length === 0, "ran beside itself"],
  ];
  const shown = JSON.stringify({ attempts, runs });
  return facts.flatMap(([isRight, problem]) => (isRight ? [] : [`${id} ${problem}: ${shown}`]));
}
