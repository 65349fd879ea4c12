import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Alarm, deadline, mapConcurrent, onAbort, TaskGroup } from "../../lib/domain/concurrency.ts";
import { FakeClock } from "../support/fake-clock.ts";

describe("TaskGroup", () => {
  test("settled waits for tasks that are added meanwhile, and for those that fail", async () => {
    const group = new TaskGroup();
    const first = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    void group.add(first.promise.then(() => void group.add(second.promise.catch(() => undefined))));
    let done = false;
    const settled = group.settled().then(() => (done = true));
    first.resolve();
    await Promise.resolve();
    expect(done).toBe(false);
    second.reject(new Error("failed"));
    await settled;
    expect(group.size).toBe(0);
  });

  test("settledWithin gives up after its time and leaves no timer", async () => {
    const clock = new FakeClock();
    const group = new TaskGroup();
    const task = Promise.withResolvers<void>();
    void group.add(task.promise);
    const waiting = group.settledWithin(clock, 100);
    await clock.advance(100);
    expect(await waiting).toBe(false);
    task.resolve();
    expect(await group.settledWithin(clock, 100)).toBe(true);
    expect(clock.pending).toBe(0);
  });
});

describe("onAbort", () => {
  test("calls at once if the signal has aborted, and not after it was stopped", () => {
    let calls = 0;
    onAbort(AbortSignal.abort(), () => calls++);
    expect(calls).toBe(1);
    const controller = new AbortController();
    onAbort(controller.signal, () => calls++)();
    controller.abort();
    expect(calls).toBe(1);
  });
});

describe("deadline", () => {
  test("aborts with a TimeoutError when its time has passed", async () => {
    const clock = new FakeClock();
    using limit = deadline(clock, 50);
    await clock.advance(49);
    expect(limit.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(limit.expired).toBe(true);
    expect(limit.signal.reason).toMatchObject({ name: "TimeoutError" });
  });

  test("aborts with another signal and its reason, then has not expired", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    {
      using limit = deadline(clock, 50, new AbortController().signal, controller.signal);
      controller.abort("gone");
      expect(limit.signal.reason).toBe("gone");
      await clock.advance(50);
      expect(limit.expired).toBe(false);
    }
    expect(clock.pending).toBe(0);
  });
});

describe("mapConcurrent", () => {
  test("keeps the order and the limit", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(5), { maxLength: 20 }), fc.integer({ min: 1, max: 6 }), async (items, limit) => {
        let running = 0;
        let most = 0;
        const doubled = await mapConcurrent(items, limit, async (item) => {
          most = Math.max(most, ++running);
          for (let turn = 0; turn < item; turn++) await Promise.resolve();
          running--;
          return item * 2;
        });
        expect(doubled).toEqual(items.map((item) => item * 2));
        expect(most).toBeLessThanOrEqual(limit);
      }),
    );
  });

  test("rejects with the first failure", async () => {
    const work = async (item: number) => (item === 2 ? Promise.reject(new Error("two")) : item);
    expect(mapConcurrent([1, 2, 3], 2, work)).rejects.toThrow("two");
  });
});

describe("Alarm", () => {
  test("goes off once, at the soonest moment that it was set to", async () => {
    const clock = new FakeClock();
    const times: number[] = [];
    using alarm = new Alarm(clock, () => times.push(clock.monotonic()));
    alarm.setSooner(100);
    alarm.setSooner(40);
    alarm.setSooner(80);
    await clock.advance(200);
    expect(times).toEqual([40]);
    alarm.set(10);
    alarm.set(30);
    await clock.advance(100);
    expect(times).toEqual([40, 230]);
    alarm.set(10);
    alarm.set(Infinity);
    expect(clock.pending).toBe(0);
  });
});
