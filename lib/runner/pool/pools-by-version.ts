import type { Function } from "../../domain/functions/functions.ts";
import { FUNCTIONS } from "../../domain/limits.ts";
import { type Pool, poolKey } from "./pool.ts";
import { needsNoNewContainer } from "./compatibility.ts";

/** The versions of a function that are kept ready: the current one, and those that routes name. */
interface Kept {
  readonly current: Function;
  readonly named: ReadonlySet<number>;
}

/** The most ids of deleted functions that are remembered: as many as there can be functions. */
const REMOVED = FUNCTIONS;

/**
 * The pools, one for each version of a function that is called: a call runs the version that it came with, whatever happens
 * meanwhile. The pools of the current version and of versions that routes name are kept; those of others end with the
 * calls that have begun.
 */
export class PoolsByVersion {
  readonly #make: (fn: Function, heirOf?: Pool) => Pool;
  readonly #pools = new Map<string, Pool>();
  readonly #byFunction = new Map<string, Set<Pool>>();
  /** By the function's id, for functions that were changed since the start. Every version of the others is kept. */
  readonly #kept = new Map<string, Kept>();
  /** Deleted functions, oldest first: a call that was admitted before may still come. */
  readonly #removed = new Set<string>();

  /** `make` creates a pool, which may be the heir of another. */
  constructor(make: (fn: Function, heirOf?: Pool) => Pool) {
    this.#make = make;
  }

  [Symbol.iterator](): Iterator<Pool> & Iterable<Pool> {
    return this.#pools.values();
  }

  /** Returns all pools of a function. */
  of(functionId: string): Iterable<Pool> {
    return this.#byFunction.get(functionId) ?? [];
  }

  /** Returns the pool of a version, if it has one. */
  known(fn: Pick<Function, "id" | "version">): Pool | undefined {
    return this.#pools.get(poolKey(fn));
  }

  /** Returns the pool for a call. A late call, after a change that needs no new container, goes to the current pool. */
  forCall(fn: Function): Pool {
    const known = this.#pools.get(poolKey(fn));
    if (known !== undefined) return known;
    if (this.#isKept(fn)) return this.#add(fn);
    const current = this.#kept.get(fn.id)?.current;
    const next = current && this.#pools.get(poolKey(current));
    if (next !== undefined && needsNoNewContainer(fn, next.function)) return next;
    const pool = this.#add(fn);
    pool.end();
    return pool;
  }

  /** Returns the pool for a changed function: the one it had, if the change needs no new container. */
  forChange(fn: Function): Pool {
    const known = this.#pools.get(poolKey(fn));
    if (known !== undefined) return known;
    const last = this.outdated(fn.id)
      .toSorted((a, b) => a.function.version - b.function.version)
      .at(-1);
    if (last === undefined || !needsNoNewContainer(fn, last.function)) return this.#add(fn, last);
    this.#pools.delete(poolKey(last.function));
    this.#pools.set(poolKey(fn), last);
    return last;
  }

  /** Sets the versions that are kept, and returns those that routes did not name before. Nothing is kept of a deleted function. */
  keep(current: Function, named: readonly Function[]): readonly Function[] {
    if (this.#removed.has(current.id)) return [];
    const before = this.#kept.get(current.id)?.named;
    this.#kept.set(current.id, { current, named: new Set(named.map(({ version }) => version)) });
    for (const version of named) this.#pools.get(poolKey(version))?.goOn(version);
    return named.filter(({ version }) => before?.has(version) !== true);
  }

  /** Stops keeping any version of a function. */
  remove(functionId: string): void {
    this.#removed.add(functionId);
    const oldest = this.#removed.values().next().value;
    if (this.#removed.size > REMOVED && oldest !== undefined) this.#removed.delete(oldest);
    this.#kept.delete(functionId);
  }

  isRemoved(functionId: string): boolean {
    return this.#removed.has(functionId);
  }

  /** Returns the pools of a function that are not kept. */
  outdated(functionId: string): Pool[] {
    return [...this.of(functionId)].filter((pool) => !this.#isKept(pool.function));
  }

  delete(pool: Pool): void {
    const { id } = pool.function;
    this.#pools.delete(poolKey(pool.function));
    const own = this.#byFunction.get(id);
    own?.delete(pool);
    if (own?.size === 0) this.#byFunction.delete(id);
  }

  #add(fn: Function, heirOf?: Pool): Pool {
    const pool = this.#make(fn, heirOf);
    this.#pools.set(poolKey(fn), pool);
    const own = this.#byFunction.get(fn.id);
    if (own === undefined) this.#byFunction.set(fn.id, new Set([pool]));
    else own.add(pool);
    return pool;
  }

  #isKept({ id, version }: Function): boolean {
    if (this.#removed.has(id)) return false;
    const kept = this.#kept.get(id);
    return kept === undefined || kept.current.version === version || kept.named.has(version);
  }
}
