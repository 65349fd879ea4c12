import type { Function, FunctionPools, PoolState } from "../../../domain/functions/functions.ts";
import { KEPT_LENGTH } from "../../access/shown-json.ts";
import { successText } from "../../wire/envelope.ts";

interface Kept {
  readonly json: string;
  readonly pools: string;
  readonly text: string;
}

/**
 * The answers to readers of single functions: the record as JSON, which stays until it is changed, and its instances, which are
 * often the same from one reader to the next. Then the whole text is the same, and is kept, unless the record is long.
 */
export class FunctionAnswers {
  /** The latest one for each record. A change of a function makes another record. */
  readonly #kept = new WeakMap<Function, Kept>();

  /** Returns the answer for a function, whose record is `json` for its reader, and its instances. */
  of(fn: Function, json: string, instances: FunctionPools): string {
    const pools = poolsJson(instances);
    const kept = this.#kept.get(fn);
    if (kept !== undefined && kept.json === json && kept.pools === pools) return kept.text;
    const text = successText(`${json.slice(0, -1)},${pools}}`);
    if (json.length <= KEPT_LENGTH && Object.isFrozen(fn)) this.#kept.set(fn, { json, pools, text });
    return text;
  }
}

/** Returns the fields of instances as JSON, without the braces around them. */
export function poolsJson(instances: FunctionPools): string {
  const { pool, version_pools } = instances;
  return version_pools.length === 0 && isPlain(pool)
    ? `"pool":{"ready":${pool.ready},"starting":${pool.starting},"busy":${pool.busy},"target":${pool.target}},"version_pools":[]`
    : JSON.stringify({ pool, version_pools }).slice(1, -1);
}

/** Returns whether a state has nothing but the numbers that all have. */
function isPlain({ booting, streams, problem }: PoolState): boolean {
  return booting === undefined && streams === undefined && problem === undefined;
}
