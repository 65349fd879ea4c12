/** The entries that a `tracestate` may have, and the characters that are passed on (W3C Trace Context, 3.3.1.1 and 3.3.1.5). */
const STATE_ENTRIES = 32;
const STATE_LENGTH = 512;
/** Entries above this length are the first ones to go if the whole is too long. */
const LONG_ENTRY = 128;
const SIMPLE_KEY = /^[a-z0-9][_0-9a-z\-*/]{0,255}$/;
const TENANT_KEY = /^[a-z0-9][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13}$/;
/** Printable ASCII without comma and equals sign, and no space at the end. */
const STATE_VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** Returns a valid `tracestate`, short enough to be passed on; null if there is none, or if it is not valid. */
export function parseTracestate(text: string | undefined): string | null {
  if (text === undefined) return null;
  const entries = text
    .split(",")
    .map((entry) => entry.replace(/^[ \t]+|[ \t]+$/g, ""))
    .filter((entry) => entry !== "");
  const keys = entries.map(keyOf);
  const isValid = !keys.includes(undefined) && new Set(keys).size === keys.length && keys.length <= STATE_ENTRIES;
  return isValid && entries.length > 0 ? shortened(entries) : null;
}

/** Returns the key of an entry; undefined if the entry is not valid. */
function keyOf(entry: string): string | undefined {
  const split = entry.indexOf("=");
  const key = entry.slice(0, split);
  const isValid =
    split > 0 && (SIMPLE_KEY.test(key) || TENANT_KEY.test(key)) && STATE_VALUE.test(entry.slice(split + 1));
  return isValid ? key : undefined;
}

/** Joins as many entries as there is room for: long ones are left out first, then those at the end, which are the oldest. */
function shortened(entries: readonly string[]): string | null {
  const whole = entries.join();
  if (whole.length <= STATE_LENGTH) return whole;
  const kept = entries.filter(({ length }) => length <= LONG_ENTRY);
  while (kept.join().length > STATE_LENGTH) kept.pop();
  return kept.length === 0 ? null : kept.join();
}
