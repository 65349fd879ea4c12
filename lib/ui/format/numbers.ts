const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Returns a size in bytes in the largest fitting unit, such as "1.5 MiB"; a dash for none. */
export function bytes(size: number | null | undefined): string {
  if (size === null || size === undefined) return "–";
  let value = size;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${rounded(value)} ${UNITS[unit] ?? "B"}`;
}

/** Returns a duration such as "6.3 ms", "1.25 s" or "2 min 5 s"; a dash for none. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 999.5) return `${rounded(ms)} ms`;
  if (ms < 59_995) return `${rounded(ms / 1_000)} s`;
  const seconds = Math.round(ms / 1_000);
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor((seconds / 3_600) % 24),
    Math.floor((seconds / 60) % 60),
  ];
  if (days > 0) return parts([days, "d"], [hours, "h"]);
  if (hours > 0) return parts([hours, "h"], [minutes, "min"]);
  return parts([minutes, "min"], [seconds % 60, "s"]);
}

/** Returns two parts of a duration, the second one unless it is 0. */
function parts(first: readonly [number, string], second: readonly [number, string]): string {
  return (second[0] === 0 ? [first] : [first, second]).map((part) => part.join(" ")).join(" ");
}

/** Returns a count with separators, such as "12,345"; a dash for none. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US");
}

/** Returns a ratio as a percentage, such as "1.7 %"; a dash for none. */
export function percent(ratio: number | null | undefined): string {
  return ratio === null || ratio === undefined ? "–" : `${rounded(ratio * 100)} %`;
}

/** Three significant digits below 100, none after the point above. */
function rounded(value: number): string {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  const text = value.toFixed(digits);
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}
