import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { STATUSES, type Invocation, type InvocationQuery } from "../../../../lib/domain/calls/invocations.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import type { InvocationTable } from "../../../../lib/store/sqlite/tables/invocations.ts";
import { newStore, rejectionOf, someInvocation, START, thrownBy } from "../support/stores.ts";

describe("InvocationTable", () => {
  test("save: keeps every field, including nulls and fractions", async () => {
    using store = newStore();
    const full = someInvocation("i1", {
      route_id: "r1",
      reason: "function_failed",
      message: "a\0b",
      signal: 9,
      start: "warm",
    });
    const bare = someInvocation("i2", {
      image_id: null,
      exit_code: null,
      start: null,
      queue_ms: null,
      start_ms: null,
      run_ms: null,
      cpu_ms: null,
      peak_memory_bytes: null,
      response_bytes: null,
      finished_at: null,
    });
    await store.tables.invocations.save([{ invocation: full }, { invocation: bare }]);
    expect(store.tables.invocations.get("i1")).toStrictEqual(full);
    expect(store.tables.invocations.get("i2")).toStrictEqual(bare);
    expect(store.tables.invocations.get("i3")).toBeUndefined();
  });

  test("save: replaces a known invocation, and keeps its logs unless new ones are given", async () => {
    using store = newStore();
    const entries = [
      { stream: "stdout" as const, text: "one\n\0\u{1f600}\u001b[31m" },
      { stream: "stderr" as const, text: "" },
    ];
    await store.tables.invocations.save([{ invocation: someInvocation("i1", { status: "running" }), logs: entries }]);
    await store.tables.invocations.save([{ invocation: someInvocation("i1", { status: "failed" }) }]);
    expect(store.tables.invocations.get("i1")?.status).toBe("failed");
    expect(store.tables.invocations.logs("i1")).toEqual(entries);
    await store.tables.invocations.save([{ invocation: someInvocation("i1"), logs: [] }]);
    expect(store.tables.invocations.logs("i1")).toEqual([]);
    expect(store.tables.invocations.logs("i2")).toEqual([]);
  });

  test("save: all of a batch, or nothing", async () => {
    using store = newStore();
    const impossible = { ...someInvocation("i2"), function_id: null } as unknown as Invocation; // what STRICT tables refuse
    const saved = store.tables.invocations.save([{ invocation: someInvocation("i1") }, { invocation: impossible }]);
    expect(await rejectionOf(saved)).toBeInstanceOf(Error);
    expect(store.tables.invocations.get("i1")).toBeUndefined();
    await store.tables.invocations.save([{ invocation: someInvocation("i1") }]);
    expect(store.tables.invocations.get("i1")).toBeDefined();
  });

  test("remove: also removes the logs", async () => {
    using store = newStore();
    await store.tables.invocations.save([
      { invocation: someInvocation("i1"), logs: [{ stream: "stdout", text: "x" }] },
    ]);
    await store.tables.invocations.remove("i1");
    await store.tables.invocations.remove("unknown");
    expect(store.tables.invocations.get("i1")).toBeUndefined();
    expect(store.tables.invocations.logs("i1")).toEqual([]);
  });

  test("markLost: ends running invocations, and no others", async () => {
    using store = newStore();
    const done = someInvocation("i1");
    const running = someInvocation("i2", { status: "running", finished_at: null });
    await store.tables.invocations.save([{ invocation: done }, { invocation: running }]);
    expect(await store.tables.invocations.markLost(START + 5000)).toBe(1);
    expect(await store.tables.invocations.markLost(START + 6000)).toBe(0);
    expect(store.tables.invocations.get("i1")).toStrictEqual(done);
    expect(store.tables.invocations.get("i2")).toStrictEqual({
      ...running,
      status: "failed",
      reason: "instance_lost",
      message: "The server ended before the function did",
      finished_at: timestamp(START + 5000),
    });
  });
});

describe("InvocationTable list", () => {
  const record = fc.record({
    // Few moments, so that many records share one.
    moment: fc.integer({ min: 0, max: 4 }),
    function_id: fc.constantFrom("f1", "f2"),
    status: fc.constantFrom(...STATUSES),
  });
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

  test("returns all matches in pages, newest first, each once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 40 }),
        optional(fc.constantFrom("f1", "f2", "f3")),
        optional(fc.constantFrom(...STATUSES)),
        optional(fc.integer({ min: 0, max: 5 })),
        optional(fc.integer({ min: 0, max: 5 })),
        fc.integer({ min: 1, max: 9 }),
        async (records, function_id, status, since, until, limit) => {
          using store = newStore();
          const all = records.map(({ moment, ...fields }) =>
            someInvocation(crypto.randomUUID(), { ...fields, created_at: timestamp(START + moment) }),
          );
          await store.tables.invocations.save(all.map((invocation) => ({ invocation })));
          const expected = all
            .filter((each) => function_id === undefined || each.function_id === function_id)
            .filter((each) => status === undefined || each.status === status)
            .filter((each) => since === undefined || each.created_at >= timestamp(START + since))
            .filter((each) => until === undefined || each.created_at < timestamp(START + until))
            .toSorted((a, b) => (a.created_at + a.id < b.created_at + b.id ? 1 : -1));
          const query = {
            limit,
            ...(function_id !== undefined && { function_id }),
            ...(status !== undefined && { status }),
            ...(since !== undefined && { since: timestamp(START + since) }),
            ...(until !== undefined && { until: timestamp(START + until) }),
          };
          expect(allPages(store.tables.invocations, query)).toEqual(expected);
        },
      ),
    );
  });

  test("is not shifted by a record that comes while a caller pages through it", async () => {
    using store = newStore();
    const at = (ms: number) => ({ invocation: someInvocation(`i${ms}`, { created_at: timestamp(START + ms) }) });
    await store.tables.invocations.save([1, 2, 3, 4].map(at));
    const first = store.tables.invocations.list({ limit: 2 });
    await store.tables.invocations.save([at(5)]);
    await store.tables.invocations.remove("i3");
    const second = store.tables.invocations.list({
      limit: 2,
      ...(first.next_cursor !== null && { cursor: first.next_cursor }),
    });
    expect(first.invocations.map(({ id }) => id)).toEqual(["i4", "i3"]);
    expect(second.invocations.map(({ id }) => id)).toEqual(["i2", "i1"]);
    expect(second.next_cursor).toBeNull();
  });

  test.each([
    "",
    "x",
    "!!!",
    "bnVsbA",
    encoded({}),
    encoded(["a"]),
    encoded([1, 2]),
    encoded(["a", "b", "c"]),
    `${encoded(["a", "b"])}=`,
  ])("refuses the cursor %j", (cursor) => {
    using store = newStore();
    expect(thrownBy(() => store.tables.invocations.list({ limit: 1, cursor }))).toMatchObject({
      name: "AppError",
      reason: "invalid_request",
      message: expect.stringContaining('"next_cursor"'),
    });
  });

  function encoded(value: unknown): string {
    return Buffer.from(JSON.stringify(value)).toString("base64url");
  }

  function allPages(store: InvocationTable, query: InvocationQuery): Invocation[] {
    const found: Invocation[] = [];
    let page = store.list(query);
    for (;;) {
      expect(page.invocations.length).toBeLessThanOrEqual(query.limit);
      found.push(...page.invocations);
      if (page.next_cursor === null) return found;
      expect(page.invocations.length).toBe(query.limit);
      page = store.list({ ...query, cursor: page.next_cursor });
    }
  }
});

describe("InvocationTable prune", () => {
  const ids = (store: InvocationTable) => store.list({ limit: 500 }).invocations.map(({ id }) => id);

  async function aged(count: number) {
    const store = newStore();
    const each = Array.from({ length: count }, (_, age) =>
      someInvocation(`i${age}`, { created_at: timestamp(START - age), finished_at: timestamp(START - age) }),
    );
    await store.tables.invocations.save(
      each.map((invocation) => ({ invocation, logs: [{ stream: "stdout", text: "x" }] })),
    );
    return store;
  }

  test("removes older records, oldest first and in batches", async () => {
    using store = await aged(10);
    const pruning = { before: START - 4, keep: 100, batch: 3 };
    expect(await store.tables.invocations.prune(pruning)).toBe(3);
    expect(ids(store.tables.invocations)).toEqual(["i0", "i1", "i2", "i3", "i4", "i5", "i6"]);
    expect(await store.tables.invocations.prune(pruning)).toBe(2);
    expect(await store.tables.invocations.prune(pruning)).toBe(0);
    expect(ids(store.tables.invocations)).toEqual(["i0", "i1", "i2", "i3", "i4"]);
    expect(store.tables.invocations.logs("i9")).toEqual([]);
  });

  test("removes all but the newest", async () => {
    using store = await aged(10);
    expect(await store.tables.invocations.prune({ before: 0, keep: 4, batch: 100 })).toBe(6);
    expect(ids(store.tables.invocations)).toEqual(["i0", "i1", "i2", "i3"]);
    expect(await store.tables.invocations.prune({ before: 0, keep: 4, batch: 100 })).toBe(0);
    expect(await store.tables.invocations.prune({ before: 0, keep: 0, batch: 100 })).toBe(4);
  });

  test("applies the stricter limit", async () => {
    using store = await aged(10);
    expect(await store.tables.invocations.prune({ before: START - 1, keep: 4, batch: 100 })).toBe(8);
    expect(ids(store.tables.invocations)).toEqual(["i0", "i1"]);
  });

  test("counts the age from the end: a record that was delayed for a month stays as long as any other (E1)", async () => {
    using store = await aged(3);
    const delayed = { created_at: timestamp(START - 30 * 86_400_000), finished_at: timestamp(START) };
    await store.tables.invocations.save([{ invocation: someInvocation("delayed", delayed) }]);
    expect(await store.tables.invocations.prune({ before: START - 1, keep: 100, batch: 100 })).toBe(1);
    expect(ids(store.tables.invocations)).toEqual(["i0", "i1", "delayed"]);
    expect(await store.tables.invocations.prune({ before: 0, keep: 2, batch: 100 })).toBe(1);
    expect(ids(store.tables.invocations)).toEqual(["i0", "delayed"]);
  });

  test("removes few records at once if their payloads are large, so that the event loop goes on (B5)", async () => {
    using store = newStore();
    const payload = { request: Buffer.alloc(6 << 20), request_meta: null, response: null, response_meta: null };
    const records = ["a", "b", "c", "d", "e"].map((id) => ({
      invocation: someInvocation(id),
      payload: { ...payload, invocation_id: id },
    }));
    await store.tables.invocations.save(records);
    const pruning = { before: START + 1_000, keep: 0, batch: 100 };
    expect(await store.tables.invocations.prune(pruning)).toBe(3);
    expect(await store.tables.invocations.prune(pruning)).toBe(2);
  });

  test("keeps running invocations", async () => {
    using store = await aged(3);
    await store.tables.invocations.save([
      {
        invocation: someInvocation("old", {
          status: "running",
          created_at: timestamp(START - 1000),
          finished_at: null,
        }),
      },
    ]);
    expect(await store.tables.invocations.prune({ before: START + 1, keep: 0, batch: 100 })).toBe(3);
    expect(ids(store.tables.invocations)).toEqual(["old"]);
  });
});
