/** Returns the samples of a text in the format of Prometheus, by their names with labels: `slipway_instances{state="ready"}`. */
export function readMetrics(text: string): ReadonlyMap<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const end = line.lastIndexOf(" ");
    const value = Number(line.slice(end + 1));
    if (end > 0 && !Number.isNaN(value)) samples.set(line.slice(0, end), value);
  }
  return samples;
}

/** Returns the sum of all samples of a name, whatever labels they have. */
export function sumOf(samples: ReadonlyMap<string, number>, name: string): number {
  let sum = 0;
  for (const [key, value] of samples) if (key === name || key.startsWith(`${name}{`)) sum += value;
  return sum;
}
