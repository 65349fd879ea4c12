import type { Instance } from "../instance/instance.ts";
import type { Capacity } from "./capacity.ts";
import type { Pool } from "./pool.ts";

/**
 * How much longer ago than its own last call another pool's must be for a refill to take its place, in milliseconds: two
 * pools that are both called would otherwise empty each other in turns, at the price of a container each time.
 */
const COOLED_MS = 10_000;

/**
 * The ready instances that give way to a new one of `pool`, least recently called pools first; nothing where even all of
 * them would not make room, for then none is to go. For a call any may go that is not its own, for a refill only those
 * of pools that have cooled down.
 */
export function chooseEvictions(
  pool: Pool,
  all: Iterable<Pool>,
  capacity: Capacity,
  forCall: boolean,
): readonly Instance[] | undefined {
  const { memory_bytes } = pool.function;
  if (capacity.fits(memory_bytes)) return [];
  const victims: Instance[] = [];
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
