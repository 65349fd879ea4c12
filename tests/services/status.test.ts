import { expect, test } from "bun:test";
import { AppError } from "../../lib/domain/errors.ts";
import type { Runner } from "../../lib/runner/runner.ts";
import { StatusService } from "../../lib/services/status.ts";

/** The only part of a runner that the service uses. */
function service(options: {
  problem?: AppError;
  probe?: AppError;
  probeDatabase?: () => Promise<void>;
}): StatusService {
  const runner = { problem: options.problem, probe: () => Promise.resolve(options.probe) } as unknown as Runner;
  return new StatusService({ runner, probeDatabase: options.probeDatabase ?? (() => Promise.resolve()) });
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
