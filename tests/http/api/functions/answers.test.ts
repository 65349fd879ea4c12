import { describe, expect, test } from "bun:test";
import { heapSize } from "bun:jsc";
import fc from "fast-check";
import { FUNCTION_DEFAULTS, type Function, type FunctionPools } from "../../../../lib/domain/functions/functions.ts";
import { FunctionAnswers, poolsJson } from "../../../../lib/http/api/functions/answers.ts";

const count = fc.nat({ max: 200 });
const state = fc.record(
  { ready: count, starting: count, busy: count, target: count, booting: count, streams: count, problem: fc.string() },
  { requiredKeys: ["ready", "starting", "busy", "target"], noNullPrototype: true },
);
const pools: fc.Arbitrary<FunctionPools> = fc.record(
  {
    pool: state,
    version_pools: fc.array(
      state.map((one) => ({ version: 1, ...one })),
      { maxLength: 2 },
    ),
  },
  { noNullPrototype: true },
);

function record(timeout_ms: number): Function {
  const time = "2026-01-31T12:00:00.000Z";
  const own = { id: "f", image: "i", image_id: null, digest: null, created_at: time, updated_at: time };
  return Object.freeze({ ...FUNCTION_DEFAULTS, ...own, timeout_ms });
}

describe("poolsJson", () => {
  test("is what JSON.stringify makes of any instances, but for the braces", () => {
    fc.assert(fc.property(pools, (instances) => expect(`{${poolsJson(instances)}}`).toBe(JSON.stringify(instances))));
  });
});

describe("FunctionAnswers", () => {
  test("an answer is that of the record, its reader and its instances as they are now, whatever came before", () => {
    const step = fc.record({ record: fc.nat({ max: 2 }), reader: fc.nat({ max: 1 }), pools });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const answers = new FunctionAnswers();
        const records = [record(1000), record(2000), record(1000)];
        for (const { record: index, reader, pools: instances } of steps) {
          const fn = records[index] ?? record(1000);
          const seen = { ...fn, name: reader === 0 ? null : "seen" };
          const text = answers.of(fn, JSON.stringify(seen), instances);
          expect(text).toBe(JSON.stringify({ success: true, message: "success", data: { ...seen, ...instances } }));
        }
      }),
    );
  });

  test("a record that may change is not kept", () => {
    const open: Function & { timeout_ms: number } = { ...record(1000) };
    const answers = new FunctionAnswers();
    const instances: FunctionPools = { pool: { ready: 0, starting: 0, busy: 0, target: 0 }, version_pools: [] };
    for (const timeout_ms of [1000, 2000]) {
      open.timeout_ms = timeout_ms;
      expect(answers.of(open, JSON.stringify(open), instances)).toContain(`"timeout_ms":${timeout_ms}`);
    }
  });

  test("answers of long records are not kept: there may be hundreds in memory", () => {
    const answers = new FunctionAnswers();
    const instances: FunctionPools = { pool: { ready: 0, starting: 0, busy: 0, target: 0 }, version_pools: [] };
    const records = Array.from({ length: 64 }, (_, index) => record(1000 + index));
    const size = () => {
      Bun.gc(true);
      return heapSize();
    };
    const before = size();
    for (const fn of records) answers.of(fn, JSON.stringify({ ...fn, image: "i".repeat(1 << 20) }), instances);
    expect(size() - before).toBeLessThan(16 << 20);
    expect(records).toHaveLength(64);
  });
});
