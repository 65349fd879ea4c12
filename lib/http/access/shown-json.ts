import type { Caller } from "../../domain/keys.ts";
import { seesCallbackPaths, shownTo } from "./callback-paths.ts";

/** The most characters of a record whose JSON is kept. Longer records are put into words each time: there may be many of them. */
export const KEPT_LENGTH = 64 * 1024;

/** The JSON of records for those that see all of it, and for the others. */
const whole = new WeakMap<object, string>();
const hidden = new WeakMap<object, string>();

/**
 * Returns a record as JSON, as this caller may see it. The record is frozen: a change makes another one, so its JSON is kept
 * for as long as the record. It takes longer to make than everything else that a reader of a record asks for.
 */
export function shownJson(caller: Caller, record: Readonly<Record<string, unknown>>): string {
  const kept = seesCallbackPaths(caller) ? whole : hidden;
  const known = kept.get(record);
  if (known !== undefined) return known;
  const text = JSON.stringify(shownTo(caller, record));
  if (text.length <= KEPT_LENGTH && Object.isFrozen(record)) kept.set(record, text);
  return text;
}
