/** Runs code of a library that prints with `console.log`, and returns what it would have printed. */
export function printed(run: () => void): string[] {
  const lines: string[] = [];
  const { log } = console;
  console.log = (...values: readonly unknown[]) => void lines.push(values.map(String).join(" "));
  try {
    run();
  } finally {
    console.log = log;
  }
  return lines;
}
