const STEPS = [
  ["s", 1_000, 60],
  ["min", 60_000, 60],
  ["h", 3_600_000, 24],
  ["d", 86_400_000, Infinity],
] as const;

/** Returns a time relative to now, such as "5 min ago", "in 2 h" or "now". */
export function relative(time: string, now: number): string {
  const distance = Date.parse(time) - now;
  if (!Number.isFinite(distance)) return time;
  const size = Math.abs(distance);
  if (size < 1_000) return "now";
  for (const [unit, ms, most] of STEPS) {
    const value = Math.floor(size / ms);
    if (value < most) return distance < 0 ? `${value} ${unit} ago` : `in ${value} ${unit}`;
  }
  return time;
}

/** Returns a time in the reader's own zone, to the second, with the name of the zone. */
export function absolute(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return date.toLocaleString("en-GB", {
    year: "numeric",
    month: "short",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });
}

/** Returns the time of day of a moment, with milliseconds: for logs. */
export function clockTime(time: string): string {
  const date = new Date(time);
  const pad = (value: number, width = 2) => String(value).padStart(width, "0");
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}
