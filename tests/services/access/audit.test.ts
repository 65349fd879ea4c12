import { expect, test } from "bun:test";
import type { AuditEntry } from "../../../lib/domain/audit.ts";
import { AUDIT } from "../../../lib/domain/limits.ts";
import { AuditService } from "../../../lib/services/access/audit.ts";
import type { AuditLog, AuditRetention } from "../../../lib/store/audit.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";

type Row = Omit<AuditEntry, "id">;
const REQUEST = { key_id: "k", address: "192.0.2.1", method: "PUT", path: "/v1/secrets/A", status: 200 };

function setUp() {
  const writes: (readonly Row[])[] = [];
  const prunings: AuditRetention[] = [];
  const fault = { isFull: false };
  const store: AuditLog = {
    append: async (rows) => {
      if (fault.isFull) throw new Error("the disk is full");
      writes.push(rows);
    },
    list: async () => ({ entries: [], next_cursor: null }),
    prune: async (retention) => prunings.push(retention),
  };
  const clock = new FakeClock();
  const { log, events } = listeningLog();
  const audit = new AuditService({ store, clock, log, max_age_ms: 1_000_000 });
  const told = (event: string) => events.filter((one) => one["event"] === event || one["msg"] === event);
  return { audit, clock, writes, prunings, fault, events, told };
}

test("a change is one line at once, and one row soon after; many share a transaction (A6)", async () => {
  const { audit, clock, writes, events } = setUp();
  for (let i = 0; i < 500; i++) audit.changed({ ...REQUEST, path: `/v1/secrets/S${i}` });
  expect(events).toHaveLength(500);
  expect(events[0]).toMatchObject({ level: "info", ...REQUEST, path: "/v1/secrets/S0" });
  expect(writes).toHaveLength(0);
  await clock.advance(100);
  expect(writes.map((rows) => rows.length)).toEqual([500]);
  expect(writes[0]?.[0]).toEqual({
    at: "2026-01-31T12:00:00.000Z",
    event: "change",
    ...REQUEST,
    path: "/v1/secrets/S0",
  });
});

test("a flood of refused keys is bounded, in the log, in memory and in the database, and counted (A6)", async () => {
  const { audit, clock, writes, events } = setUp();
  audit.start();
  for (let i = 0; i < 50_000; i++) audit.refused({ ...REQUEST, key_id: null, status: 401 });
  audit.changed(REQUEST);
  await clock.advance(100);
  expect(writes.map((rows) => rows.length)).toEqual([101]);
  expect(events).toHaveLength(101);
  await clock.advance(60_000);
  expect(events.at(-1)).toMatchObject({ level: "warn", count: 49_900 });
  // Room comes back, for one more each 10 s.
  for (let i = 0; i < 50; i++) audit.refused({ ...REQUEST, key_id: null, status: 429 });
  await audit.flush();
  expect(writes.at(-1)).toHaveLength(6);
  await audit[Symbol.asyncDispose]();
  expect(clock.pending).toBe(0);
});

test("entries wait while the disk is full, up to a limit, and are written in order when it is not", async () => {
  const { audit, clock, writes, fault } = setUp();
  fault.isFull = true;
  for (let i = 0; i < 2_000; i++) audit.changed({ ...REQUEST, status: i });
  await clock.advance(100);
  audit.changed({ ...REQUEST, status: 5_000 });
  fault.isFull = false;
  await audit.list({ event: null, key_id: null, before: 1, limit: 1 });
  expect(writes.flat().map(({ status }) => status)).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
});

test.each([
  ["/v1/functions/x", "/v1/functions/x"],
  ["/r/hook", "/r/hook"],
  ["/r/hook/a-token-of-its-caller", "/r/hook/…"],
  ["/r//a-token", "/r//…"],
  [`/v1/${"x".repeat(2_000)}`, `/v1/${"x".repeat(508)}…`],
])("the path %s is recorded as %s", async (path, recorded) => {
  const { audit, writes, events } = setUp();
  audit.refused({ ...REQUEST, path });
  await audit.flush();
  expect([writes[0]?.[0]?.path, events[0]?.["path"]]).toEqual([recorded, recorded]);
});

test("old entries are removed each minute, with limits of their own for changes and for refused keys", async () => {
  const { audit, clock, prunings } = setUp();
  audit.start();
  await clock.advance(60_000);
  expect(prunings).toHaveLength(1);
  expect(prunings[0]).toMatchObject({ before: clock.now() - 1_000_000, keep: AUDIT });
  await audit[Symbol.asyncDispose]();
});
