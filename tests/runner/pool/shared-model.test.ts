import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { totalsOf } from "../../../lib/runner/pool/figures.ts";
import { settled } from "../../support/fake-clock.ts";
import { type FakeInstance, functionOf, PoolsUnderTest } from "./fake-instances.ts";

/** The knowledge that a correct server has of an instance. */
interface ModelInstance {
  /** The calls that it serves. */
  streams: number;
  /** The calls that it was given. */
  given: number;
  /** No once it must not be given another. Perhaps if a call of another version may have waited long enough for its room. */
  open: "yes" | "no" | "perhaps";
}

/** A call: waiting until it has an instance. */
interface ModelCall {
  readonly caller: AbortController;
  readonly fn: Function;
  instance: FakeInstance | undefined;
  failed: boolean;
  leave: () => void;
}

interface Model {
  readonly instances: Map<FakeInstance, ModelInstance>;
  readonly calls: ModelCall[];
}

/** Pools with one function whose instances serve several calls at once. */
class Real {
  readonly under: PoolsUnderTest;
  fn: Function;
  versions = 1;

  constructor(fn: Function, limits: { readonly instances: number; readonly starts_at_once: number }) {
    this.fn = fn;
    this.under = new PoolsUnderTest(limits);
  }
}

type Command = fc.AsyncCommand<Model, Real>;

function most({ max_calls }: Function): number {
  return max_calls === 0 ? Infinity : max_calls;
}

function known(model: Model, instance: FakeInstance): ModelInstance {
  const found = model.instances.get(instance) ?? { streams: 0, given: 0, open: "yes" };
  model.instances.set(instance, found);
  return found;
}

/** Returns the instances that may be given a call of this version of the function. */
function takers(model: Model, { under }: Real, fn: Function): FakeInstance[] {
  return under.alive.filter((instance) => {
    const { streams, given, open } = known(model, instance);
    const own = instance.function.image_id === fn.image_id;
    return own && open === "yes" && streams < instance.function.concurrency && given < most(instance.function);
  });
}

/** Everything that holds after each event. */
function check(model: Model, real: Real): void {
  const { under } = real;
  let streams = 0;
  for (const instance of under.instances) {
    const one = known(model, instance);
    expect(one.streams).toBeLessThanOrEqual(instance.function.concurrency);
    expect(one.given).toBeLessThanOrEqual(most(instance.function));
    if (instance.state === "retired") continue;
    streams += one.streams;
    // One that takes no more calls, or of a version that is gone, ends with the last of its calls.
    if (one.streams === 0 && one.open === "no")
      throw new Error("An instance without calls that must not be given any is kept");
  }
  const shown = totalsOf(under.pools.all);
  expect(shown.streams).toBe(streams);
  expect(shown.starting + shown.booting).toBe(under.launching.length);
  expect(under.capacity.instances).toBe(under.alive.length + under.launching.length);
  // No call waits while an instance could serve it.
  for (const { fn, instance, failed } of model.calls) {
    if (instance !== undefined || failed) continue;
    expect(takers(model, real, fn).length).toBe(0);
  }
}

/** An event, followed by the checks. */
abstract class Event implements Command {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    await this.happen(model, real);
    await settled();
    check(model, real);
  }

  pick<T>(from: readonly T[]): T | undefined {
    return from[this.value % Math.max(1, from.length)];
  }

  toString(): string {
    return `${this.constructor.name}(${this.value})`;
  }

  abstract happen(model: Model, real: Real): void | Promise<void>;
}

class CallComes extends Event {
  happen(model: Model, real: Real): void {
    const { fn, under } = real;
    const caller = new AbortController();
    const call: ModelCall = { caller, fn, instance: undefined, failed: false, leave: () => undefined };
    model.calls.push(call);
    const expected = takers(model, real, fn).map((instance) => known(model, instance).streams);
    const unsure = [...model.instances.values()].some(({ open }) => open === "perhaps");
    let atOnce = true;
    under.acquire(fn, caller.signal).then(
      ({ instance, leave }) => {
        const one = known(model, instance);
        expect(one.open).not.toBe("no");
        expect(instance.function.image_id).toBe(fn.image_id);
        // One with the fewest calls, unless it had to wait.
        if (atOnce && !unsure && expected.length > 0) expect(one.streams).toBe(Math.min(...expected));
        one.streams++;
        one.given++;
        instance.state = "busy";
        Object.assign(call, { instance, leave });
      },
      () => (call.failed = true),
    );
    queueMicrotask(() => queueMicrotask(() => (atOnce = expected.length > 0)));
  }
}

/** Ends a call, as the runner does: an instance that has had its last call says that it has no use. */
function end({ under }: Real, model: Model, call: ModelCall): void {
  const { instance, leave } = call;
  model.calls.splice(model.calls.indexOf(call), 1);
  leave();
  if (instance === undefined || instance.state === "retired") return;
  const one = known(model, instance);
  one.streams--;
  const reusable = one.given < most(instance.function) && instance.state !== "draining";
  if (one.streams === 0 && reusable) instance.state = "ready";
  const others = model.calls.some((other) => other.instance === undefined && other.fn.version !== call.fn.version);
  if (!reusable) one.open = "no";
  else if (others && one.open === "yes") one.open = "perhaps";
  under.pools.giveBack(instance, reusable);
}

class CallEnds extends Event {
  happen(model: Model, real: Real): void {
    const call = this.pick(model.calls.filter(({ instance }) => instance !== undefined));
    if (call !== undefined) end(real, model, call);
  }
}

class CallerGoesAway extends Event {
  happen(model: Model): void {
    const call = this.pick(model.calls.filter(({ instance, failed }) => instance === undefined && !failed));
    call?.caller.abort(new Error("gone"));
  }
}

class StartSucceeds extends Event {
  happen(model: Model, { under, fn }: Real): void {
    const instance = this.pick(under.launching)?.succeed();
    // One of a version that has passed serves the calls that wait for it, and no others.
    if (instance !== undefined && instance.function.image_id !== fn.image_id) known(model, instance);
  }
}

class StartBoots extends Event {
  happen(_model: Model, { under }: Real): void {
    this.pick(under.launching)?.boot();
  }
}

class StartFails extends Event {
  happen(_model: Model, { under }: Real): void {
    this.pick(under.launching)?.fail(new Error("no start"));
  }
}

/** A call has timed out: its instance serves the others to their ends, and no more. */
class InstanceDrains extends Event {
  happen(model: Model, real: Real): void {
    const call = this.pick(model.calls.filter(({ instance }) => instance?.state === "busy"));
    if (call?.instance === undefined) return;
    call.instance.state = "draining";
    known(model, call.instance).open = "no";
    end(real, model, call);
  }
}

class InstanceDies extends Event {
  happen(_model: Model, { under }: Real): void {
    this.pick(under.alive)?.retire();
  }
}

/** A secret is rotated. */
class PoolsAreRenewed extends Event {
  happen(model: Model, { under }: Real): void {
    // Starts under way have the old values.
    under.pools.renew(() => true);
    for (const instance of under.alive) known(model, instance).open = "no";
  }
}

class FunctionChanges extends Event {
  happen(_model: Model, real: Real): void {
    const version = real.fn.version + 1;
    real.fn = { ...real.fn, version, image_id: `sha256:${version}` };
    real.under.pools.update(real.fn);
  }
}

class TimePasses extends Event {
  happen(_model: Model, { under }: Real): Promise<void> {
    return under.clock.advance(this.value * 10);
  }
}

const EVENTS = [
  [8, CallComes],
  [7, CallEnds],
  [4, StartSucceeds],
  [1, StartBoots],
  [1, CallerGoesAway],
  [1, StartFails],
  [1, InstanceDrains],
  [1, InstanceDies],
  [1, PoolsAreRenewed],
  [1, FunctionChanges],
  [1, TimePasses],
] as const;

const commands = fc.commands(
  EVENTS.flatMap(([weight, Kind]) =>
    Array.from({ length: weight }, () => fc.nat({ max: 2_000 }).map((n) => new Kind(n))),
  ),
  { maxCommands: 60, size: "max" },
);

/** Everything succeeds from here on: each call that waits is served, and afterwards nothing is left over. */
async function drainAll(model: Model, real: Real): Promise<void> {
  const { under } = real;
  for (let round = 0; model.calls.some(({ failed }) => !failed); round++) {
    if (round > 200) throw new Error("Calls wait that nothing serves");
    await under.succeedAll();
    for (const call of model.calls.filter(({ instance }) => instance !== undefined)) end(real, model, call);
    await settled();
    model.calls.splice(0, model.calls.length, ...model.calls.filter(({ failed }) => !failed));
    await under.clock.advance(100);
  }
  await under.clock.advance(real.fn.idle_ttl_ms + 120_000);
  await under.succeedAll();
  await under.clock.advance(2_000);
  expect(under.alive).toEqual([]);
  expect(under.capacity.instances).toBe(0);
  expect(totalsOf(under.pools.all)).toEqual({ ready: 0, starting: 0, booting: 0, busy: 0, streams: 0 });
}

test("Pools of instances that serve several calls at once give each no more than it may have, to the least loaded first, and end with them", async () => {
  const settings = fc.record({
    concurrency: fc.constantFrom(2, 3, 32),
    max_calls: fc.constantFrom(0, 0, 2, 7),
    warm_max: fc.constantFrom(0, 1, 3),
    contract: fc.constant("http" as const),
  });
  const limits = fc.record({
    instances: fc.integer({ min: 1, max: 5 }),
    starts_at_once: fc.integer({ min: 1, max: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(settings, limits, commands, async (how, most, events) => {
      const setup = () => ({
        model: { instances: new Map(), calls: [] } satisfies Model as Model,
        real: new Real(functionOf("a", how), most),
      });
      let last: ReturnType<typeof setup> | undefined;
      await fc.asyncModelRun(() => (last = setup()), events);
      if (last === undefined) return;
      await drainAll(last.model, last.real);
      last.real.under[Symbol.dispose]();
    }),
    { numRuns: 200 },
  );
});
