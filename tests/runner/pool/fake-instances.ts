import { Capacity } from "../../../lib/runner/pool/capacity.ts";
import { FUNCTION_DEFAULTS, type Function, type PoolState } from "../../../lib/domain/functions/functions.ts";
import type { AppError } from "../../../lib/domain/errors.ts";
import { createLogger } from "../../../lib/log.ts";
import type { OnBoot } from "../../../lib/runner/instance/boot-plan.ts";
import type { InstanceState, PoolInstance } from "../../../lib/runner/instance/pool-instance.ts";
import type { Pool } from "../../../lib/runner/pool/pool.ts";
import { type Acquired, Pools } from "../../../lib/runner/pool/pools.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";

const NO_POOL = { version: 0, ready: 0, starting: 0, busy: 0, target: 0 };

/** An instance whose state the test sets. */
export class FakeInstance implements PoolInstance {
  readonly #gone = Promise.withResolvers<void>();
  /** The function as it was when this was launched. */
  readonly function: Function;
  state: InstanceState = "ready";
  calls = 0;
  /** Calls that hold it now; never more than the function's `concurrency`. */
  holders = 0;

  constructor(fn: Function) {
    this.function = fn;
  }

  get free(): number {
    return this.function.concurrency - this.holders;
  }

  get retired(): Promise<void> {
    return this.#gone.promise;
  }

  gone(): Promise<void> {
    return this.#gone.promise;
  }

  drain(): void {
    this.state = "draining";
  }

  retire(): void {
    this.state = "retired";
    this.#gone.resolve();
  }

  /** Dies without a report yet. */
  die(): void {
    this.state = "retired";
  }
}

/** The fake behind an instance of the pools under test. */
export function fake(instance: PoolInstance): FakeInstance {
  if (instance instanceof FakeInstance) return instance;
  throw new Error("The pools have an instance that the test did not make");
}

interface AcquiredFake extends Acquired {
  readonly instance: FakeInstance;
}

/** A start that the engine has been asked for and has not answered. */
export interface Launching {
  readonly pool: Pool;
  readonly function: Function;
  /** Tells that the platform has done its part, and the function boots; in a container that is lost already unless it `lives`. */
  boot(lives?: boolean): void;
  /** Makes the instance ready. */
  succeed(): FakeInstance;
  fail(error: unknown): void;
}

export function functionOf(id: string, settings: Partial<Function> = {}): Function {
  const at = "2026-01-01T00:00:00.000Z";
  const image = { image: "example", image_id: "sha256:1", digest: null };
  return { ...FUNCTION_DEFAULTS, id, ...image, created_at: at, updated_at: at, ...settings };
}

/** Returns the error that a promise was rejected with, or undefined if it was not. */
export function failureOf(promise: Promise<unknown> | undefined): Promise<unknown> {
  return Promise.resolve(promise).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Pools on an engine that the test plays. */
export class PoolsUnderTest implements Disposable {
  readonly clock = new FakeClock();
  readonly capacity: Capacity;
  readonly pools: Pools;
  /** Starts under way, oldest first. */
  readonly launching: Launching[] = [];
  /** Every instance that was ever ready. */
  readonly instances: FakeInstance[] = [];
  /** Functions whose pools have gone. */
  readonly emptied: string[] = [];
  readonly logged: string[] = [];
  problem: AppError | undefined;
  /** The most starts that ever ran at once. */
  mostStarts = 0;

  constructor({ instances = 10, memory_bytes = 1e12, starts_at_once = 2 } = {}) {
    this.capacity = new Capacity({ instances, memory_bytes });
    this.pools = new Pools({
      launch: (pool, onBoot) => this.#launch(pool, onBoot),
      onEmpty: ({ function: { id } }) => this.emptied.push(id),
      capacity: this.capacity,
      clock: this.clock,
      log: createLogger({ level: "warn", format: "json", clock: this.clock, write: (line) => this.logged.push(line) }),
      problem: () => this.problem,
      starts_at_once,
    });
    this.pools.start();
  }

  get alive(): readonly FakeInstance[] {
    return this.instances.filter(({ state }) => state !== "retired");
  }

  /** The pool of a function's latest version, empty if there is none. */
  stateOf(id: string): PoolState {
    const { version: _version, ...state } = this.pools.statesOf(id).at(-1) ?? NO_POOL;
    return state;
  }

  /** The functions that the starts under way are for. */
  get starts(): readonly string[] {
    return this.launching.map(({ pool }) => pool.function.id);
  }

  /** Lets the oldest start succeed (of this function, if one is named), and waits for the consequences. */
  async succeed(id?: string): Promise<FakeInstance> {
    const instance = this.#oldest(id).succeed();
    await settled();
    return instance;
  }

  async fail(error: unknown, id?: string): Promise<void> {
    this.#oldest(id).fail(error);
    await settled();
  }

  /** Lets starts succeed until none is under way or due, once the answers of calls have been sent. */
  async succeedAll(): Promise<void> {
    await this.clock.advance(5);
    while (this.launching.length > 0) await this.succeed();
  }

  /** Makes this many instances of a function ready, as a registration and that many calls at once would. */
  async warm(fn: Function): Promise<void> {
    this.pools.update(fn);
    await this.clock.advance(20);
    await this.succeedAll();
  }

  acquire(fn: Function, signal: AbortSignal = new AbortController().signal): Promise<AcquiredFake> {
    const acquired = this.pools.acquire(fn, signal).then((had) => ({ ...had, instance: fake(had.instance) }));
    acquired.catch(() => undefined); // a test looks at it later
    return acquired;
  }

  #oldest(id?: string): Launching {
    const found = this.launching.find(({ pool }) => id === undefined || pool.function.id === id);
    if (found === undefined) throw new Error(`No start of ${id ?? "anything"} is under way`);
    return found;
  }

  #launch(pool: Pool, onBoot: OnBoot): Promise<FakeInstance> {
    const { promise, resolve, reject } = Promise.withResolvers<FakeInstance>();
    const leave = () => this.launching.splice(this.launching.indexOf(launching), 1);
    const launching: Launching = {
      pool,
      boot: (lives = true) =>
        onBoot(() => lives && this.launching.includes(launching) && launching.fail(new Error("given up"))),
      function: pool.function,
      succeed: () => {
        leave();
        const instance = new FakeInstance(launching.function);
        this.instances.push(instance);
        resolve(instance);
        return instance;
      },
      fail: (error) => {
        leave();
        reject(error);
      },
    };
    this.launching.push(launching);
    this.mostStarts = Math.max(this.mostStarts, this.launching.length);
    return promise;
  }

  [Symbol.dispose](): void {
    this.pools[Symbol.dispose]();
  }
}
