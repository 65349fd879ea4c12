import { Database as Sqlite } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { type InvocationQuery, STATUSES } from "../../../lib/domain/calls/invocations.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import { Database } from "../../../lib/store/sqlite/database/database.ts";
import { create } from "../../../lib/store/sqlite/migrations/migrations.ts";
import { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { someInvocation, START, stillClock } from "./support/stores.ts";

/** The tables that grow with the calls; all others hold what people have made. */
const GROWING = [
  "invocations",
  "payloads",
  "payload_sizes",
  "attempts",
  "deliveries",
  "work",
  "uncounted",
  "idempotency_keys",
  "stored_answers",
  "stats_minutes",
  "stats_hours",
  "audit",
];

/** Statements that begin at one end of a table and have a limit, and one that is asked at the server's start. */
const BOUNDED = [
  /from uncounted left join invocations .* order by invocation_id limit \$batch$/s,
  // Rows of all functions lie between those of single ones: 3,000 at most.
  /from stats_(minutes|hours) where function_id <> '' order by bucket, function_id limit \d+$/,
  /^select count\(\*\) as count from work$/,
];

const sqlite = new Sqlite(":memory:", { strict: true });
create(sqlite);
/** The statements that the store has asked its connection for. */
const asked = new Set<string>();
const query: Sqlite["query"] = sqlite.query.bind(sqlite);
sqlite.query = (sql) => {
  asked.add(sql);
  return query(sql);
};
// Without the knowledge of its schema every statement is prepared at once.
const store = new SqliteStore(new Database(sqlite, {}), stillClock());
/** Explains them: a statement that explains another one counts as one in progress, which keeps transactions from their commit. */
const explainer = new Sqlite(":memory:", { strict: true });
create(explainer);
afterAll(() => {
  store[Symbol.dispose]();
  explainer.close();
});

/** Returns the steps of SQLite's plan for a statement. */
function planOf(sql: string): string[] {
  const steps = explainer.prepare<{ detail: string }, []>(`explain query plan ${sql}`).all();
  return steps.map(({ detail }) => detail);
}

/** Returns what makes a statement slower with each record: a table that is read as a whole, or rows that are sorted. */
function growingStepsOf(sql: string): string[] {
  return planOf(sql).filter((step) => {
    const scanned = /^SCAN (\w+)(?! USING)/.exec(step)?.[1];
    return step.startsWith("USE TEMP B-TREE") || (scanned !== undefined && GROWING.includes(scanned));
  });
}

test("no statement of the store reads a table of calls as a whole, or sorts what it has found in one", () => {
  const about = [...asked].filter((sql) => GROWING.some((table) => new RegExp(`\\b${table}\\b`).test(sql)));
  expect(about.length).toBeGreaterThan(60);
  const bounded = about.filter((sql) => BOUNDED.some((form) => form.test(sql)));
  expect(bounded).toHaveLength(6);
  const others = about.filter((sql) => !bounded.includes(sql));
  const slow = others.map((sql) => ({ sql, steps: growingStepsOf(sql) })).filter(({ steps }) => steps.length > 0);
  expect(slow).toEqual([]);
});

test("the plans of other statements would be found: one that scans, and one that sorts", () => {
  expect(growingStepsOf("select * from invocations where message = 'x'")).toHaveLength(1);
  expect(growingStepsOf("select id from invocations where status in ('failed', 'dead') order by finished_at")).toEqual([
    "USE TEMP B-TREE FOR ORDER BY",
  ]);
});

describe("a page of records is read from an index that has it in order", () => {
  const forms = [{}, { function_id: "f1" }, { parent_id: "p" }, { parent_id: "p", function_id: "f1" }].flatMap((by) =>
    [{}, ...STATUSES.map((status) => ({ status }))].flatMap((byStatus) =>
      [{}, { since: timestamp(START) }].flatMap((since) =>
        [{}, { until: timestamp(START + 1_000) }].map((until): Omit<InvocationQuery, "limit" | "cursor"> => ({
          ...by,
          ...byStatus,
          ...since,
          ...until,
        })),
      ),
    ),
  );
  const isOf = ({ function_id, parent_id }: Partial<InvocationQuery>) =>
    function_id !== undefined || parent_id !== undefined;
  const cases: [string, (form: Partial<InvocationQuery>) => boolean, RegExp][] = [
    ["nothing", (form) => !isOf(form) && form.status === undefined, /by_time\b/],
    ["a parent, and whatever else", (form) => form.parent_id !== undefined, /by_parent \(parent_id=\?/],
    ["a status", (form) => !isOf(form) && form.status !== undefined, /by_status \(status=\?/],
    [
      "a function",
      (form) => isOf(form) && form.parent_id === undefined && form.status === undefined,
      /by_function_status \(function_id=\? AND status=\?/,
    ],
    [
      "both",
      (form) => isOf(form) && form.parent_id === undefined && form.status !== undefined,
      /by_function_status \(function_id=\? AND status=\?/,
    ],
  ];

  test.each(cases)("by %s, with and without times and a cursor", async (_, isMeant, index) => {
    await store.history.save(["a", "b", "c"].map((id) => ({ invocation: someInvocation(id) })));
    const { next_cursor } = await store.history.list({ limit: 1 });
    const meant = forms.filter(isMeant);
    expect(meant.length).toBeGreaterThanOrEqual(4);
    for (const form of meant) {
      for (const continued of [{}, ...(next_cursor === null ? [] : [{ cursor: next_cursor }])]) {
        asked.clear();
        await store.history.list({ limit: 1, ...form, ...continued });
        const [sql = "", ...more] = asked;
        expect(more).toEqual([]);
        const steps = planOf(sql).filter((step) => step.includes("invocations"));
        expect(steps.length).toBeGreaterThanOrEqual(1);
        for (const step of steps) expect(step).toMatch(index);
        // Times and the cursor are looked up, not filtered.
        if ("since" in form || "until" in form || "cursor" in continued)
          for (const step of steps) expect(step).toContain("created_at");
        expect(growingStepsOf(sql)).toEqual([]);
      }
    }
  });
});
