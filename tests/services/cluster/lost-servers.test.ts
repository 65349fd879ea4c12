import { expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { LostServers } from "../../../lib/services/cluster/lost-servers.ts";
import type { LeftRecord } from "../../../lib/store/cluster/left-records.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { listeningLog, someFunction, someInvocation } from "../../store/sqlite/support/stores.ts";

const MINUTE_MS = 60_000;

test("ends the records of servers that are silent for longer than such a call can take, and only those", async () => {
  const clock = new FakeClock();
  const now = someFunction("brief", { version: 2, timeout_ms: MINUTE_MS, boot_timeout_ms: MINUTE_MS });
  const before = { ...now, version: 1, timeout_ms: 10 * MINUTE_MS };
  const record = (id: string, silent: number, further: Partial<LeftRecord> = {}): LeftRecord => {
    return { id, function_id: "brief", version: 2, holder: "b", silent_ms: silent * MINUTE_MS, ...further };
  };
  const left = [
    record("may run", 2.9),
    record("lost", 3),
    record("may run in its version", 11.9, { version: 1 }),
    record("lost in its version", 12, { version: 1 }),
    record("may run in a version that is gone", 60, { version: 7 }),
    record("may run in a function that is gone", 60, { function_id: "gone" }),
    record("lost with its function", 25 * 60, { function_id: "gone" }),
  ];
  const ended: string[] = [];
  const traced: string[] = [];
  const { log, events } = listeningLog();
  const servers = new LostServers({
    store: {
      list: async (silentMs) => left.filter(({ silent_ms }) => silent_ms >= silentMs),
      end: async (lost) => lost.map(({ id, message }) => (ended.push(`${id}: ${message}`), id)),
    },
    history: { get: async (id) => someInvocation(id) },
    functions: {
      get: (id) => {
        if (id !== "brief") throw new AppError("not_found", "No such function");
        return now;
      },
      findVersion: async (_fn, version) => [now, before].find((one) => one.version === version),
    },
    clock,
    log,
    tracing: { exports: true, lost: ({ id }) => void traced.push(id) },
  });
  servers.start();
  expect(ended).toEqual([]);
  await clock.advance(5_000);
  const lost = ["lost", "lost in its version", "lost with its function"];
  expect(ended).toEqual(
    lost.map((id) => `${id}: The server "b" was lost while it ran this call: how it ended is not known`),
  );
  expect(traced).toEqual(lost);
  expect(events.filter(({ event }) => event === "invocations lost with another server")).toMatchObject([{ count: 3 }]);
  await servers[Symbol.asyncDispose]();
  expect(clock.pending).toBe(0);
});
