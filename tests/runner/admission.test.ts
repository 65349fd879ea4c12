import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Admission, type Place } from "../../lib/runner/admission.ts";
import { FakeClock, settled } from "../support/fake-clock.ts";
import { Door, never } from "./door.ts";
import { failureOf } from "./pool/fake-instances.ts";

describe("Admission.enter", () => {
  test("lets in as many calls as may run, in total and per function", async () => {
    const door = new Door({ max_running: 3 });
    await door.calls("a1 a2 a3", 2);
    expect(door.entered).toEqual(["a1", "a2"]);
    await door.calls("b1 b2");
    expect(door.entered).toEqual(["a1", "a2", "b1"]);
    expect([door.admission.running, door.admission.waiting]).toEqual([3, 2]);
    await door.end("b1");
    expect(door.entered.at(-1)).toBe("b2");
    await door.end("a2");
    expect(door.entered.at(-1)).toBe("a3");
  });

  test("is first come, first served within a function", async () => {
    const door = new Door({ max_running: 1 });
    await door.calls("a1 a2 a3 a4");
    await door.endAll();
    expect(door.entered).toEqual(["a1", "a2", "a3", "a4"]);
  });

  test("lets functions take turns, however many calls wait for one of them", async () => {
    const door = new Door({ max_running: 1 });
    await door.calls("a1 a2 a3 a4 a5 b1 b2 c1");
    await door.endAll();
    // a had its turn when b and c came, so they are next.
    expect(door.entered.join(" ")).toBe("a1 a2 b1 c1 a3 b2 a4 a5");
  });

  test("skips functions that are at their own limit", async () => {
    const door = new Door({ max_running: 2 });
    await door.calls("a1 a2 a3", 1);
    await door.calls("b1 b2");
    expect(door.entered).toEqual(["a1", "b1"]);
    await door.end("b1");
    expect(door.entered).toEqual(["a1", "b1", "b2"]);
    await door.end("b2");
    expect(door.entered).toHaveLength(3);
    await door.end("a1");
    expect(door.entered).toEqual(["a1", "b1", "b2", "a2"]);
  });

  test("applies a raised limit to calls that already wait, and a lowered one to later calls", async () => {
    const door = new Door({ max_running: 9 });
    await door.calls("a1 a2 a3 a4", 1);
    await door.calls("a5", 3);
    expect(door.entered).toEqual(["a1", "a2", "a3"]);
    await door.calls("a6", 1);
    await door.end("a1");
    await door.end("a2");
    expect(door.entered).toHaveLength(3);
    await door.end("a3");
    expect(door.entered.at(-1)).toBe("a4");
  });

  test("removes a disconnected caller from the queue, and gives its place to the next", async () => {
    const door = new Door({ max_running: 1 });
    const caller = new AbortController();
    const gone = new Error("gone");
    await door.calls("a1");
    const away = door.call("a2", { signal: caller.signal });
    await door.calls("a3");
    caller.abort(gone);
    expect(await failureOf(away)).toBe(gone);
    expect(door.admission.waiting).toBe(1);
    await door.end("a1");
    expect(door.entered).toEqual(["a1", "a3"]);
    expect(await failureOf(door.call("a4", { signal: caller.signal }))).toBe(gone);
    await door.endAll();
    expect([door.admission.running, door.admission.waiting]).toEqual([0, 0]);
  });

  test("counts a place that is given back twice only once", async () => {
    const door = new Door({ max_running: 1 });
    const place = await door.admission.enter({ id: "a", max_concurrency: 0, concurrency: 1 }, never);
    await door.calls("b1 b2");
    place();
    place();
    await settled();
    expect(door.entered).toEqual(["b1"]);
    expect(door.admission.running).toBe(1);
  });
});

describe("Admission refuses", () => {
  const overloaded = { reason: "overloaded", message: expect.stringContaining("MAX_INSTANCES") };
  const tooMany = { reason: "too_many_requests", message: expect.stringContaining('"max_concurrency"') };

  test("a call at once if the queue of its function is full, and blames the function's limit", async () => {
    const door = new Door({ max_running: 9, function_queue: 2 });
    await door.calls("a1 a2 a3", 1);
    expect(await failureOf(door.call("a4", { max: 1 }))).toMatchObject(tooMany);
    await door.calls("b1", 1);
    expect(door.entered).toEqual(["a1", "b1"]);
  });

  test("a call at once if the queue of the server is full, and blames the server's limit", async () => {
    const door = new Door({ max_running: 1, queue: 2, function_queue: 0 });
    await door.calls("a1 a2 b1");
    expect(await failureOf(door.call("c1"))).toMatchObject(overloaded);
    expect(await failureOf(door.call("a3", { max: 5 }))).toMatchObject(overloaded);
  });

  test("every call that would have to wait if there are no queues", async () => {
    const door = new Door({ max_running: 2, queue: 0, function_queue: 0 });
    await door.calls("a1", 1);
    expect(await failureOf(door.call("a2", { max: 1 }))).toMatchObject(tooMany);
    await door.calls("b1");
    expect(await failureOf(door.call("c1"))).toMatchObject(overloaded);
  });

  test("calls of one function before they fill the whole queue", async () => {
    const door = new Door({ max_running: 1, queue: 100 });
    for (let call = 0; call < 200; call++) void failureOf(door.call(`a${call}`));
    await settled();
    expect(door.admission.waiting).toBe(90);
    await door.calls("b1 c1 d1");
    expect(door.admission.waiting).toBe(93);
  });

  test("with a Retry-After from 1 to 60 seconds that follows the rate at which places become free", async () => {
    const door = new Door({ max_running: 1, queue: 10, function_queue: 5 });
    const retry = async () => {
      const error = await failureOf(door.call("z1"));
      return error instanceof Error && "retry_after_s" in error ? error.retry_after_s : undefined;
    };
    const fill = () => door.calls("a1 a2 a3 b1 b2 b3 c1 c2 c3 d1 d2");
    await fill();
    expect(await retry()).toBe(10); // at first, one a second
    for (let round = 0; round < 40; round++) {
      await door.clock.advance(50);
      await door.end(door.entered.at(-1) ?? "");
      await door.calls(`${"abcdefgh"[round % 8]}x${round}`);
    }
    expect(await retry()).toBe(1);
    for (let round = 0; round < 40; round++) {
      await door.clock.advance(60_000);
      await door.end(door.entered.at(-1) ?? "");
      await door.calls(`${"abcdefgh"[round % 8]}y${round}`);
    }
    expect(await retry()).toBe(60);
  });
});

test("Admission accepts 10,000 calls at once and lets them through in as many steps", async () => {
  const most = { max_running: 0, queue: 20_000, function_queue: 20_000 };
  let steps = 0;
  // Every step of every decision asks for this limit.
  const limits = Object.defineProperty(most, "max_running", { get: () => (steps++, 8) });
  const admission = new Admission(limits, new FakeClock());
  const calls = Array.from({ length: 10_000 }, (_, index) =>
    // A thousand functions, half of which may run one call at a time.
    admission.enter({ id: `f${index % 1_000}`, max_concurrency: index % 2, concurrency: 1 }, never),
  );
  expect(admission.running).toBe(8);
  expect(admission.waiting).toBe(9_992);
  for (const call of calls) (await call)();
  expect([admission.running, admission.waiting]).toEqual([0, 0]);
  expect(steps).toBeLessThan(10_000 * 5);
});

test("Admission keeps its limits and the order, and loses no call, for any sequence of events", async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ what: fc.constant("call" as const), value: fc.nat({ max: 3 }) }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("end" as const), value: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("abort" as const), value: fc.nat() }) },
  );
  const limits = fc.record({
    max_running: fc.integer({ min: 1, max: 5 }),
    queue: fc.nat({ max: 12 }),
    function_queue: fc.nat({ max: 6 }),
  });
  const maxima = fc.array(fc.nat({ max: 3 }), { minLength: 4, maxLength: 4 });
  const sharing = fc.array(fc.constantFrom(1, 1, 2, 3), { minLength: 4, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(limits, maxima, sharing, fc.array(step, { maxLength: 80 }), async (most, max, share, steps) => {
      const admission = new Admission(most, new FakeClock());
      const running: { id: string; place: Place }[] = [];
      const waiting: { id: string; order: number; caller: AbortController }[] = [];
      let order = 0;
      const enter = (index: number) => {
        const caller = new AbortController();
        const one = { id: `f${index}`, order: order++, caller };
        waiting.push(one);
        const leave = () => waiting.splice(waiting.indexOf(one), 1);
        const fn = { id: one.id, max_concurrency: max[index] ?? 0, concurrency: share[index] ?? 1 };
        admission.enter(fn, caller.signal).then((place) => {
          leave();
          running.push({ id: one.id, place });
          for (const other of waiting) if (other.id === one.id) expect(other.order).toBeGreaterThan(one.order);
        }, leave);
      };
      for (const { what, value } of steps) {
        if (what === "call") enter(value);
        else if (what === "end") running.splice(value % Math.max(1, running.length), 1)[0]?.place();
        else waiting[value % Math.max(1, waiting.length)]?.caller.abort(new Error("gone"));
        await settled();
        const own = share.map((_, index) => running.filter(({ id }) => id === `f${index}`).length);
        const places = own.reduce((sum, calls, index) => sum + Math.ceil(calls / (share[index] ?? 1)), 0);
        expect([admission.running, admission.waiting]).toEqual([places, waiting.length]);
        expect(places).toBeLessThanOrEqual(most.max_running);
        expect(waiting.length).toBeLessThanOrEqual(most.queue);
        for (const [index, limit] of max.entries()) {
          const calls = own[index] ?? 0;
          if (limit > 0) expect(calls).toBeLessThanOrEqual(limit);
          // No call waits without a reason: its function is full, or all places are taken and it can share none.
          const waits = waiting.some(({ id }) => id === `f${index}`);
          const alone = calls <= (share[index] ?? 1) || !waiting.some(({ id }) => id !== `f${index}`);
          const full = places === most.max_running && (calls % (share[index] ?? 1) === 0 || !alone);
          if (waits) expect(full || calls === limit).toBe(true);
        }
      }
      while (running.length > 0) {
        running.shift()?.place();
        await settled();
      }
      expect(waiting).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

describe("Admission of calls that share an instance", () => {
  test("gives them one place together, and the next one to the call that needs an instance more", async () => {
    const door = new Door({ max_running: 2 });
    for (const name of ["a1", "a2", "a3", "a4"]) await door.call(name, { concurrency: 4 });
    expect(door.admission.running).toBe(1);
    await door.calls("b1 b2");
    expect([door.admission.running, door.admission.waiting]).toEqual([2, 1]);
    void door.call("a5", { concurrency: 4 });
    await settled();
    expect(door.admission.waiting).toBe(2);
    // b2 has waited longer, but there is no place for it; a5 shares the one that its function has.
    await door.end("a1");
    expect(door.entered).toContain("a5");
    expect([door.admission.running, door.admission.waiting]).toEqual([2, 1]);
  });
});

test("Admission takes a shared place back from a function that has several while others wait for one", async () => {
  const door = new Door({ max_running: 2 });
  for (const name of ["a1", "a2", "a3"]) await door.call(name, { concurrency: 2 });
  await door.calls("b1");
  void door.call("a4", { concurrency: 2 });
  await settled();
  expect([door.admission.running, door.admission.waiting]).toEqual([2, 2]);
  await door.end("a1");
  expect(door.entered).toEqual(["a1", "a2", "a3", "b1"]);
  await door.end("a2");
  expect(door.entered.at(-1)).toBe("a4");
});

describe("Admission of a function whose calls share its only place and never stop", () => {
  const SHARED = { concurrency: 4 };
  let door: Door;
  let count: number;

  /** Has another call of a begin before the oldest ends, so that its place is never free. */
  async function goesOn(): Promise<void> {
    void door.call(`a${++count}`, SHARED);
    await settled();
    await door.end(door.oldest("a"));
  }

  beforeEach(async () => {
    door = new Door({ max_running: 1 });
    count = 1;
    await door.call("a1", SHARED);
  });

  test("lets another one in that has waited for 5 s, and goes on behind it", async () => {
    await door.calls("b1");
    for (let second = 0; second < 4; second++) {
      await goesOn();
      await door.clock.advance(1_000);
    }
    expect(door.entered).not.toContain("b1");
    await door.clock.advance(1_000);
    await goesOn();
    expect(door.entered.at(-1)).toBe("b1");
    await door.calls("b2");
    await door.end("b1");
    expect([door.entered.at(-1), door.admission.waiting]).toEqual([`a${count}`, 1]);
  });

  test("takes calls again after 5 s if one of them keeps the place, for a minute", async () => {
    await door.calls("b1");
    await door.clock.advance(5_000);
    void door.call("a2", SHARED);
    await settled();
    expect(door.entered).toEqual(["a1"]);
    await door.clock.advance(5_000);
    expect(door.entered).toEqual(["a1", "a2"]);
    await door.call("a3", SHARED);
    await door.clock.advance(55_000);
    void door.call("a4", SHARED);
    await settled();
    expect(door.entered).not.toContain("a4");
    for (const name of ["a1", "a2", "a3"]) await door.end(name);
    expect(door.entered.at(-1)).toBe("b1");
  });

  test("takes them again also if the timer fires before its time", async () => {
    class HastyClock extends FakeClock {
      override after(ms: number, run: () => void): () => void {
        return super.after(ms - 0.5, run);
      }
    }
    door = new Door({ max_running: 1 }, new HastyClock());
    await door.call("a1", SHARED);
    await door.calls("b1");
    await door.clock.advance(5_000);
    void door.call("a2", SHARED);
    await door.clock.advance(5_000);
    expect(door.entered).toEqual(["a1", "a2"]);
  });

  test("takes calls again at once if the other one no longer waits", async () => {
    const caller = new AbortController();
    const away = door.call("b1", { signal: caller.signal });
    await door.clock.advance(5_000);
    void door.call("a2", SHARED);
    await settled();
    expect(door.entered).toEqual(["a1"]);
    caller.abort(new Error("gone"));
    await failureOf(away);
    expect(door.entered).toEqual(["a1", "a2"]);
  });

  test("has one of several such functions give its place back", async () => {
    door = new Door({ max_running: 2 });
    await door.call("a1", SHARED);
    await door.call("c1", SHARED);
    await door.calls("b1");
    await door.clock.advance(5_000);
    void door.call("a2", SHARED);
    void door.call("c2", SHARED);
    await settled();
    expect(door.entered).toEqual(["a1", "c1", "c2"]);
    await door.end("a1");
    expect(door.entered.at(-1)).toBe("b1");
  });
});

describe("Admission.roomBehind", () => {
  const nobody = { all: 0, own: 0 };
  const asks = (id: string, max_concurrency = 0) => ({ id, max_concurrency });

  test("leaves a quarter of all places, and of a function's own, if there is more than one", async () => {
    const door = new Door({ max_running: 8 });
    await door.calls("a1 a2 a3 a4");
    expect(door.admission.roomBehind(asks("b"), nobody)).toBe(2);
    expect(door.admission.roomBehind(asks("b", 1), nobody)).toBe(1);
    await door.call("a5");
    expect(door.admission.roomBehind(asks("b"), nobody)).toBe(1);
    expect(door.admission.roomBehind(asks("a", 7), nobody)).toBe(0);
    await door.call("a6");
    expect(door.admission.roomBehind(asks("b"), nobody)).toBe(0);
    expect(new Door({ max_running: 1 }).admission.roomBehind(asks("b", 1), nobody)).toBe(1);
  });

  test("counts calls that are on their way, and is none while a call waits", async () => {
    const { admission } = new Door({ max_running: 8 });
    expect(admission.roomBehind(asks("a"), { all: 4, own: 0 })).toBe(2);
    expect(admission.roomBehind(asks("a"), { all: 6, own: 0 })).toBe(0);
    expect(admission.roomBehind(asks("a", 4), { all: 2, own: 2 })).toBe(1);
    expect(admission.roomBehind(asks("a", 4), { all: 3, own: 3 })).toBe(0);
    const full = new Door({ max_running: 8 });
    await full.calls("a1 a2", 1);
    expect(full.admission.roomBehind(asks("b"), nobody)).toBe(0);
  });
});
