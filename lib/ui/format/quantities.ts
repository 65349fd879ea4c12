/** Units of sizes and durations, largest first, by the ending of a setting's name. */
const UNITS = {
  _bytes: [
    ["GiB", 1024 ** 3],
    ["MiB", 1024 ** 2],
    ["KiB", 1024],
    ["B", 1],
  ],
  _ms: [
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1_000],
    ["ms", 1],
  ],
} as const;

const QUANTITY = /^(-?\d+(?:\.\d+)?)\s*([a-z]*)$/i;

function unitsOf(name: string): readonly (readonly [unit: string, size: number])[] {
  if (name.endsWith("_bytes")) return UNITS._bytes;
  return name.endsWith("_ms") ? UNITS._ms : [];
}

/** Writes a number with the largest unit that leaves it whole, such as "256 MiB" or "30 s". */
export function writeQuantity(name: string, value: number): string {
  const fitting = unitsOf(name).find(([, size]) => value !== 0 && value % size === 0);
  return fitting === undefined ? String(value) : `${value / fitting[1]} ${fitting[0]}`;
}

/** Reads a number, for a size or a duration also with a unit; undefined for anything else. */
export function readQuantity(name: string, text: string): number | undefined {
  const [, digits, unit = ""] = QUANTITY.exec(text.trim()) ?? [];
  if (digits === undefined) return undefined;
  if (unit === "") return Number(digits);
  const known = unitsOf(name).find(([one]) => one.toLowerCase() === unit.toLowerCase());
  return known === undefined ? undefined : Math.round(Number(digits) * known[1]);
}

/** Returns the units that a setting may be given with, in words; nothing for a plain number. */
export function unitsInWords(name: string): string {
  if (name.endsWith("_bytes")) return "in bytes, or with KiB, MiB or GiB";
  return name.endsWith("_ms") ? "in milliseconds, or with s, min or h" : "";
}
