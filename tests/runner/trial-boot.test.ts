import { describe, expect, test } from "bun:test";
import { AppError, type Reason } from "../../lib/domain/errors.ts";
import type { TrialEnd } from "../../lib/domain/functions/detection.ts";
import type { Function } from "../../lib/domain/functions/functions.ts";
import type { PoolInstance } from "../../lib/runner/instance/pool-instance.ts";
import { Capacity } from "../../lib/runner/pool/capacity.ts";
import { TrialBoot } from "../../lib/runner/trial-boot.ts";
import { settled } from "../support/fake-clock.ts";
import { FakeInstance, failureOf, functionOf } from "./pool/fake-instances.ts";

/** A boot that has been asked for and has not ended. */
interface Asked extends PromiseWithResolvers<PoolInstance> {
  readonly fn: Function;
  readonly group: string;
}

function trialsOf(capacity = new Capacity({ instances: 1, memory_bytes: 1 << 30 })) {
  const asked: Asked[] = [];
  const boot = (fn: Function, group: string) => {
    const answer = { fn, group, ...Promise.withResolvers<PoolInstance>() };
    asked.push(answer);
    return answer.promise;
  };
  return { asked, capacity, trials: new TrialBoot({ boot, capacity }) };
}

const server = (id = "f", settings: Partial<Function> = {}) => functionOf(id, { contract: "http", ...settings });

describe("TrialBoot", () => {
  test("says that a function listens, ends it, and gives its room back", async () => {
    const { trials, asked, capacity } = trialsOf();
    const end = trials.run(server());
    await settled();
    expect([asked[0]?.group, capacity.instances]).toEqual(["trial-f", 1]);
    const instance = new FakeInstance(server());
    asked[0]?.resolve(instance);
    expect(await end).toEqual({ listens: true });
    expect([instance.state, capacity.instances]).toEqual(["retired", 0]);
  });

  test("waits for 10 s at most, and for no ready_path", async () => {
    const { trials, asked } = trialsOf();
    for (const boot_timeout_ms of [60_000, 500]) {
      const end = trials.run(server("f", { boot_timeout_ms, ready_path: "/healthz" }));
      await settled();
      asked.at(-1)?.reject(new AppError("boot_timeout", "Late"));
      await end;
    }
    expect(asked.map(({ fn }) => [fn.boot_timeout_ms, fn.ready_path])).toEqual([
      [10_000, null],
      [500, null],
    ]);
  });

  test.each<[Reason, TrialEnd]>([
    ["boot_timeout", { listens: true }],
    ["boot_failed", { listens: false, why: "It said so" }],
    ["entrypoint_failed", { listens: false, why: "It said so" }],
    ["out_of_memory", { listens: false, why: "It said so" }],
  ])("takes %s for an answer", async (reason, end) => {
    const { trials, asked, capacity } = trialsOf();
    const answer = trials.run(server());
    await settled();
    asked[0]?.reject(new AppError(reason, "It said so"));
    expect([await answer, capacity.instances]).toEqual([end, 0]);
  });

  test("has one trial at a time, also behind one that the engine could not start", async () => {
    const { trials, asked, capacity } = trialsOf();
    const first = failureOf(trials.run(server("a")));
    const second = trials.run(server("b"));
    await settled();
    expect(asked.map(({ fn }) => fn.id)).toEqual(["a"]);
    asked[0]?.reject(new AppError("engine_unavailable", "Gone"));
    expect(await first).toMatchObject({ reason: "engine_unavailable" });
    await settled();
    expect([asked.map(({ fn }) => fn.id), capacity.instances]).toEqual([["a", "b"], 1]);
    asked[1]?.resolve(new FakeInstance(server("b")));
    expect(await second).toEqual({ listens: true });
  });

  test("needs no room: the load of the server does not decide what an image is", async () => {
    const { trials, asked, capacity } = trialsOf(new Capacity({ instances: 0, memory_bytes: 0 }));
    const end = trials.run(server());
    await settled();
    asked[0]?.resolve(new FakeInstance(server()));
    expect([await end, capacity.instances]).toEqual([{ listens: true }, 0]);
  });
});
