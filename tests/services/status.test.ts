import { expect, test } from "bun:test";
import { AppError } from "../../lib/domain/errors.ts";
import { StatusService } from "../../lib/services/status.ts";
import { FakeClock } from "../support/fake-clock.ts";

function service(options: {
  problem?: AppError;
  probe?: AppError;
  probeDatabase?: () => Promise<string | undefined>;
}): StatusService {
  const runner = { problem: options.problem, probe: () => Promise.resolve(options.probe) };
  const clock = new FakeClock();
  return new StatusService({
    runner,
    probeDatabase: options.probeDatabase ?? (() => Promise.resolve(undefined)),
    clock,
  });
}

const AWAY = new AppError("engine_unavailable", "The engine is away: start it");
const FINE = { ok: true, problem: null };

test("readiness is true when the engine and the database work", async () => {
  expect(await service({}).readiness()).toEqual({ ready: true, engine: FINE, database: FINE });
});

test.each([{ problem: AWAY }, { probe: AWAY }])("readiness names the problem of the engine: %j", async (options) => {
  expect(await service(options).readiness()).toEqual({
    ready: false,
    engine: { ok: false, problem: "The engine is away: start it" },
    database: FINE,
  });
});

test("readiness names the problem of the database, and how to fix it", async () => {
  const probeDatabase = () => Promise.reject(new Error("disk I/O error"));
  expect(await service({ probeDatabase }).readiness()).toEqual({
    ready: false,
    engine: FINE,
    database: { ok: false, problem: "The database cannot be read: disk I/O error. Check the disk and the data path." },
  });
});

test("readiness has what the owner of a database that works should know", async () => {
  expect(await service({ probeDatabase: () => Promise.resolve("Its standby lags: wait") }).readiness()).toEqual({
    ready: true,
    engine: FINE,
    database: { ok: true, problem: null, warning: "Its standby lags: wait" },
  });
});

test("readiness is false once the server is about to stop", async () => {
  const status = service({});
  expect((await status.readiness()).ready).toBe(true);
  status.leave();
  expect(await status.readiness()).toEqual({ ready: false, stopping: true, engine: FINE, database: FINE });
});

test("readiness is looked at again as soon as the engine is known to be lost, or to be back", async () => {
  const runner = { problem: undefined as AppError | undefined, probe: () => Promise.resolve(runner.problem) };
  const status = new StatusService({ runner, probeDatabase: () => Promise.resolve(undefined), clock: new FakeClock() });
  const ready = async () => (await status.readiness()).ready;
  expect(await ready()).toBe(true);
  runner.problem = AWAY;
  expect([await ready(), await ready()]).toEqual([false, false]);
  runner.problem = undefined;
  expect(await ready()).toBe(true);
});

test("readiness asks the engine once a second at most, and once for all who ask meanwhile (B6)", async () => {
  const clock = new FakeClock();
  const looks: PromiseWithResolvers<AppError | undefined>[] = [];
  const probe = () => {
    const look = Promise.withResolvers<AppError | undefined>();
    looks.push(look);
    return look.promise;
  };
  const status = new StatusService({
    runner: { problem: undefined, probe },
    probeDatabase: () => Promise.resolve(undefined),
    clock,
  });
  const ready = async () => (await status.readiness()).ready;
  const first = [ready(), ready()];
  // A slow engine: the answer is fresh from when it came.
  await clock.advance(5_000);
  first.push(ready());
  expect(looks).toHaveLength(1);
  looks[0]?.resolve(undefined);
  expect(await Promise.all(first)).toEqual([true, true, true]);
  await clock.advance(999);
  expect(await ready()).toBe(true);
  expect(looks).toHaveLength(1);
  await clock.advance(1);
  const second = ready();
  expect(looks).toHaveLength(2);
  looks[1]?.resolve(AWAY);
  expect(await second).toBe(false);
  await clock.advance(999);
  expect(await ready()).toBe(false);
  expect(looks).toHaveLength(2);
});
