const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** Returns how long ago a time was, or how far ahead it is, in its largest unit: `3m ago`, `in 2h`. Null has no words. */
export function relativeTime(time: string | null, now = Date.now()): string | null {
  if (time === null) return null;
  const seconds = Math.round((now - Date.parse(time)) / 1_000);
  // A time that nobody can read is shown as it is.
  if (!Number.isFinite(seconds)) return time;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["s", 1];
  const amount = `${Math.floor(Math.abs(seconds) / size)}${unit}`;
  return seconds >= 0 ? `${amount} ago` : `in ${amount}`;
}

/** Returns milliseconds as people read them: `4.2ms`, `1.5s`. */
export function showMs(ms: number | null): string | null {
  if (ms === null) return null;
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)}s`;
  return ms >= 100 ? `${Math.round(ms)}ms` : `${ms.toFixed(1)}ms`;
}

/** Returns bytes as people read them: `512 B`, `1.3 MiB`. */
export function showBytes(bytes: number | null): string | null {
  if (bytes === null) return null;
  const exponent = bytes < 1 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const amount = bytes / 1024 ** exponent;
  return `${exponent === 0 ? bytes : amount.toFixed(1)} ${["B", "KiB", "MiB", "GiB", "TiB"][exponent]}`;
}
