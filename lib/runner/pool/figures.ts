import type { PoolState, VersionPool } from "../../domain/functions/functions.ts";
import type { Isolation } from "../../domain/functions/isolation.ts";
import { type Pool, poolKey } from "./pool.ts";
import { callsOfOne } from "./shared-instances.ts";

/** The instances of all pools by state, and the calls that those of the contract `http` serve. */
export type Totals = Required<Omit<PoolState, "target" | "problem">>;

/** Returns the states of pools by version, lowest first. */
export function statesOf(pools: Iterable<Pool>): VersionPool[] {
  const states: VersionPool[] = [];
  for (const { function: fn, state } of pools) states.push({ version: fn.version, ...state });
  return states.length < 2 ? states : states.toSorted((a, b) => a.version - b.version);
}

/** Returns the sums over pools. */
export function totalsOf(pools: Iterable<Pool>): Totals {
  const sum = { ready: 0, starting: 0, booting: 0, busy: 0, streams: 0 };
  for (const { state } of pools) {
    sum.ready += state.ready;
    sum.starting += state.starting;
    sum.booting += state.booting ?? 0;
    sum.busy += state.busy;
    sum.streams += state.streams ?? 0;
  }
  return sum;
}

/** Returns the calls that ready instances could serve at once, by function and version; no version that has none. */
export function readyCallsOf(pools: Iterable<Pool>): Record<string, number> {
  const calls: Record<string, number> = {};
  for (const pool of pools) {
    const { ready, function: fn } = pool;
    if (ready.length > 0) calls[poolKey(fn)] = ready.length * callsOfOne(fn);
    else if (pool.isOpen) calls[poolKey(fn)] = 1;
  }
  return calls;
}

/** Returns the number of instances by what a call gets fresh in them. */
export function byIsolation(pools: Iterable<Pool>): Readonly<Record<Isolation, number>> {
  const sum = { container: 0, cell: 0, process: 0 };
  for (const { function: fn, state } of pools) {
    sum[fn.isolation] += state.ready + state.starting + (state.booting ?? 0) + state.busy;
  }
  return sum;
}
