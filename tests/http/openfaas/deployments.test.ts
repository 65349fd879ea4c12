import { expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { Deployments } from "../../../lib/http/openfaas/deployments.ts";
import type { FunctionService } from "../../../lib/services/functions/functions.ts";
import type { AnnotatedSchedules } from "../../../lib/services/work/annotated-schedules.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";

test("a deployment that fails after its answer is told of", async () => {
  const clock = new FakeClock();
  const { promise, reject } = Promise.withResolvers<never>();
  const deployments = new Deployments({
    // The only methods that are called.
    functions: { create: () => promise } as unknown as FunctionService,
    annotatedSchedules: { check: () => undefined } as unknown as AnnotatedSchedules,
    metrics: { invocations: { get: () => Promise.reject(new Error("not read here")) } as never },
    clock,
    log: listeningLog().log,
  });
  const failures: unknown[] = [];
  const answered = deployments.create({ service: "figlet", image: "figlet" }, (error) => failures.push(error));
  await settled();
  await clock.advance(45_000);
  await answered;
  expect(failures).toEqual([]);
  const error = new AppError("image_not_found", "No such image");
  reject(error);
  await settled();
  expect(failures).toEqual([error]);
});
