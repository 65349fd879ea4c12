import { expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { totalsOf } from "../../../lib/runner/pool/figures.ts";
import { settled } from "../../support/fake-clock.ts";
import { fake, type FakeInstance, functionOf, PoolsUnderTest } from "./fake-instances.ts";

/** The events that pools may see, each with a number that chooses its target. */
const STEPS = {
  call: fc.nat({ max: 4 }),
  leave: fc.nat(),
  goAway: fc.nat(),
  start: fc.nat(),
  fail: fc.nat(),
  kill: fc.nat(),
  die: fc.nat(),
  change: fc.nat({ max: 9 }),
  callVersion: fc.nat({ max: 40 }),
  name: fc.nat({ max: 40 }),
  register: fc.nat({ max: 4 }),
  remove: fc.nat({ max: 4 }),
  pass: fc.nat({ max: 20_000 }),
  engine: fc.nat({ max: 3 }),
} as const;
type Step = { [Name in keyof typeof STEPS]: { readonly name: Name; readonly value: number } }[keyof typeof STEPS];

const steps = fc.array(
  fc.oneof(
    ...Object.entries(STEPS).map(([name, value]) => ({
      // Calls and their ends are most of a server's life.
      weight: ["call", "leave", "start"].includes(name) ? 4 : 1,
      // The names are those of the table.
      arbitrary: fc.record({ name: fc.constant(name as Step["name"]), value }),
    })),
  ),
  { maxLength: 80 },
);

interface RunningCall {
  readonly instance: FakeInstance;
  readonly leave: () => void;
}

/** Plays a trace, and checks the invariants after each step. */
class Play {
  readonly under: PoolsUnderTest;
  readonly #functions: Function[];
  readonly #limits: { readonly instances: number; readonly memory_bytes: number; readonly starts_at_once: number };
  readonly #running: RunningCall[] = [];
  readonly #waiting = new Map<AbortController, Promise<unknown>>();
  readonly #removed = new Set<string>();
  /** By the function's id: all of its states, and the versions that routes name. */
  readonly #history = new Map<string, Function[]>();
  readonly #named = new Map<string, Function[]>();
  #changes = 0;

  constructor(limits: { instances: number; memory_bytes: number; starts_at_once: number }, functions: Function[]) {
    this.#limits = limits;
    this.under = new PoolsUnderTest(limits);
    this.#functions = functions;
    for (const fn of functions) this.#history.set(fn.id, [fn]);
  }

  async step({ name, value }: Step): Promise<void> {
    this.#do(name, value);
    if (name === "pass") await this.under.clock.advance(value);
    await settled();
    this.#check();
  }

  #do(name: Step["name"], value: number): void {
    const { under } = this;
    const fn = this.#functions[value % this.#functions.length];
    if (fn === undefined) return;
    switch (name) {
      case "call":
        return this.#call(fn);
      case "leave":
        return this.#leave(value);
      case "goAway":
        return pick([...this.#waiting.keys()], value)?.abort(new Error("gone"));
      case "start":
        return void pick(under.launching, value)?.succeed();
      case "fail":
        return pick(under.launching, value)?.fail(new Error("no start"));
      case "kill":
        return pick(under.alive, value)?.retire();
      case "die":
        return pick(under.alive, value)?.die();
      case "callVersion":
        return this.#call(pick(this.#history.get(fn.id) ?? [], value) ?? fn);
      case "change":
        return this.#change(fn, value % 2 === 0);
      case "name":
        this.#named.set(
          fn.id,
          (this.#history.get(fn.id) ?? []).filter(({ version }) => (value >> version) % 2 === 1),
        );
        return under.pools.name(fn, this.#named.get(fn.id) ?? []);
      case "register":
        return under.pools.update(fn, this.#named.get(fn.id) ?? []);
      case "remove":
        this.#removed.add(fn.id);
        return under.pools.remove(fn.id);
      case "pass":
        return;
      case "engine":
        under.problem = value === 0 ? new AppError("engine_unavailable", "away") : undefined;
        if (value !== 0) under.pools.resume();
    }
  }

  #call(fn: Function): void {
    const caller = new AbortController();
    const acquired = this.under.pools.acquire(fn, caller.signal).then(
      ({ instance: acquiredInstance, leave }) => {
        const instance = fake(acquiredInstance);
        this.#waiting.delete(caller);
        instance.holders++;
        expect(instance.holders).toBe(1);
        expect(instance.function.id).toBe(fn.id);
        // It runs the version that it came for, however the function has changed.
        expect(instance.function.image_id).toBe(fn.image_id);
        this.#running.push({ instance, leave });
      },
      () => this.#waiting.delete(caller),
    );
    this.#waiting.set(caller, acquired);
  }

  #leave(value: number): void {
    const [call] = this.#running.splice(value % Math.max(1, this.#running.length), 1);
    if (call === undefined) return;
    const { instance, leave } = call;
    instance.holders--;
    leave();
    if (instance.function.max_calls === 1) instance.retire();
    else this.under.pools.giveBack(instance);
  }

  #change(fn: Function, fresh: boolean): void {
    const version = fn.version + 1;
    const changed = {
      ...fn,
      version,
      ...(fresh ? { image_id: `sha256:${++this.#changes}` } : { timeout_ms: version }),
    };
    this.#functions[this.#functions.indexOf(fn)] = changed;
    this.#history.get(fn.id)?.push(changed);
    this.under.pools.update(changed, this.#named.get(fn.id) ?? []);
  }

  #check(): void {
    const { under } = this;
    const held = [...under.alive, ...under.launching];
    const bytes = held.reduce((sum, one) => sum + one.function.memory_bytes, 0);
    expect(held.length).toBeLessThanOrEqual(this.#limits.instances);
    expect(bytes).toBeLessThanOrEqual(this.#limits.memory_bytes);
    expect(under.launching.length).toBeLessThanOrEqual(this.#limits.starts_at_once);
    for (const { id, warm_max } of this.#functions) {
      const { ready, starting, busy, target } = under.stateOf(id);
      for (const count of [ready, starting, busy]) expect(count).toBeGreaterThanOrEqual(0);
      expect(target).toBeWithin(0, warm_max + 1);
    }
    const { busy, starting } = totalsOf(under.pools.all);
    expect(starting).toBe(under.launching.length);
    // A call whose instance died still holds it here, but not in the pools.
    expect(busy).toBeLessThanOrEqual(this.#running.length + this.#waiting.size);
  }

  /** Lets everything succeed from here on: every waiting call is served, and without further calls nothing stays. */
  async end(): Promise<void> {
    const { under } = this;
    under.problem = undefined;
    // A death is reported in the end.
    for (const instance of under.instances) if (instance.state === "retired") instance.retire();
    under.pools.resume();
    while (this.#waiting.size > 0 || this.#running.length > 0) {
      const before = [this.#waiting.size, this.#running.length, under.launching.length].join();
      await under.succeedAll();
      this.#check();
      this.#leave(0);
      await under.clock.advance(1_000);
      if ([this.#waiting.size, this.#running.length, under.launching.length].join() === before)
        throw new Error(`Nothing moves any more: ${before}`);
    }
    for (const fn of this.#functions) under.pools.name(fn, []);
    const idle = Math.max(...this.#functions.map((fn) => fn.idle_ttl_ms));
    for (let round = 0; round < 4; round++) {
      await under.clock.advance(idle / 2 + 60_000);
      await under.succeedAll();
    }
    await under.clock.advance(2_000);
    const least = this.#functions.filter(({ id }) => !this.#removed.has(id)).map(({ warm_min }) => warm_min);
    const all = least.reduce((sum, count) => sum + count, 0);
    // A pool that gave way to another's call gets its instance back only if there is room.
    const ready = under.alive.filter(({ state }) => state === "ready");
    expect(ready.length).toBeLessThanOrEqual(all);
    expect(under.capacity.instances).toBe(under.alive.length);
    expect(under.clock.pending).toBe(1);
    under[Symbol.dispose]();
    expect(under.alive).toEqual([]);
    expect(under.capacity.instances).toBe(0);
    expect(under.clock.pending).toBe(0);
  }
}

test("Pools stay within their limits, serve every call in the end and leave nothing behind, for any sequence of events", async () => {
  const limits = fc.record({
    instances: fc.integer({ min: 1, max: 6 }),
    memory_bytes: fc.integer({ min: 300, max: 1_000 }),
    starts_at_once: fc.integer({ min: 1, max: 3 }),
  });
  const settings = fc.record({
    memory_bytes: fc.constantFrom(100, 150, 300),
    max_calls: fc.constantFrom(1, 1, 0, 3),
    warm_min: fc.constantFrom(0, 0, 2),
    warm_max: fc.constantFrom(2, 4, 10),
    idle_ttl_ms: fc.constantFrom(1_000, 30_000, 300_000),
  });
  await fc.assert(
    fc.asyncProperty(limits, fc.array(settings, { minLength: 1, maxLength: 4 }), steps, async (most, kinds, trace) => {
      const play = new Play(
        most,
        kinds.map((kind, index) => functionOf(`f${index}`, kind)),
      );
      for (const step of trace) await play.step(step);
      await play.end();
    }),
    { numRuns: 150 },
  );
});

function pick<T>(from: readonly T[], value: number): T | undefined {
  return from[value % Math.max(1, from.length)];
}
