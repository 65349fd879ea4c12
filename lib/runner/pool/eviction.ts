import type { PoolInstance } from "../instance/pool-instance.ts";
import type { Capacity } from "./capacity.ts";
import type { Pool } from "./pool.ts";

/**
 * A refill evicts instances only of pools whose last call was this much earlier than its own pool's, in milliseconds. Two
 * pools that are both called would otherwise keep evicting each other, at the price of a container each time.
 */
const COOLED_MS = 10_000;

/**
 * Chooses the ready instances to evict for a new one of `pool`, from the least recently called pools first. Returns nothing
 * if even all of them would not make room: then none should go. A call may evict any that is not its own, a refill only
 * those of pools that have cooled down.
 */
export function chooseEvictions(
  pool: Pool,
  all: Iterable<Pool>,
  capacity: Capacity,
  forCall: boolean,
): readonly PoolInstance[] | undefined {
  const { memory_bytes } = pool.function;
  if (capacity.fits(memory_bytes)) return [];
  const victims: PoolInstance[] = [];
  let freedBytes = 0;
  for (const other of leastRecentlyCalled(pool, all, forCall)) {
    for (const instance of other.ready) {
      victims.push(instance);
      freedBytes += other.function.memory_bytes;
      if (capacity.fits(memory_bytes, { instances: victims.length, memory_bytes: freedBytes })) return victims;
    }
  }
  return undefined;
}

function leastRecentlyCalled(pool: Pool, all: Iterable<Pool>, forCall: boolean): readonly Pool[] {
  const latest = forCall ? Infinity : pool.lastCall - COOLED_MS;
  return [...all]
    .filter((other) => other !== pool && other.ready.length > 0 && other.lastCall <= latest)
    .toSorted((a, b) => a.lastCall - b.lastCall);
}
