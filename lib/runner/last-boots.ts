import type { Boot } from "../domain/calls/boots.ts";
import type { LogEntry } from "../domain/calls/invocations.ts";

/** The functions whose last boot is remembered: those that booted last. */
const REMEMBERED = 1_000;
/** The most characters of output that are remembered of a boot: enough for a stack trace and what led to it. */
const OUTPUT_CHARACTERS = 16_384;

interface Noted {
  readonly boot: Boot;
  readonly since: { readonly entries: readonly LogEntry[] } | undefined;
}

/**
 * Remembers how each function booted last, and what it printed. A boot may have no call whose record could have it: the
 * instance was started ahead of calls. In memory only: after a start of the server functions boot anew.
 */
export class LastBoots {
  readonly #boots = new Map<string, Noted>();

  /** Returns how a function booted last, or nothing. */
  of(functionId: string): Boot | undefined {
    const noted = this.#boots.get(functionId);
    if (noted === undefined) return undefined;
    const { boot, since } = noted;
    return { ...boot, logs: lastOf([...boot.logs, ...(since?.entries ?? [])]) };
  }

  /** Takes the end of a boot; `since` has what the instance prints after it, until its first call. */
  note(functionId: string, boot: Boot, since?: Noted["since"]): void {
    this.#boots.delete(functionId);
    const oldest = this.#boots.keys().next().value;
    if (this.#boots.size >= REMEMBERED && oldest !== undefined) this.#boots.delete(oldest);
    this.#boots.set(functionId, { boot: { ...boot, logs: lastOf(boot.logs) }, since });
  }

  forget(functionId: string): void {
    this.#boots.delete(functionId);
  }
}

/** Returns the end of an output: as much as is remembered of a boot. */
export function lastOf(logs: readonly LogEntry[]): LogEntry[] {
  const kept: LogEntry[] = [];
  let left = OUTPUT_CHARACTERS;
  for (const entry of logs.toReversed()) {
    if (left <= 0) break;
    kept.push(entry.text.length <= left ? entry : { ...entry, text: entry.text.slice(-left) });
    left -= entry.text.length;
  }
  return kept.toReversed();
}

/** Returns the last lines of an output. */
export function lastLines(logs: readonly LogEntry[], lines: number): string[] {
  const text = logs.map((entry) => entry.text).join("");
  return text
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "")
    .slice(-lines);
}
