/**
 * Quantities as Kubernetes, OpenFaaS and compose files write them.
 */

const BINARY: Readonly<Record<string, number>> = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };
const DECIMAL: Readonly<Record<string, number>> = { k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

/**
 * Reads an amount of memory: bytes, `128Mi`, `1Gi`, or `64M`, which is decimal in Kubernetes and binary in compose files
 * (`decimal` false); so are lower-case `64m` and `64mb` wherever they are written. Returns undefined for anything else.
 */
export function memoryBytes(text: string, { decimal }: { readonly decimal: boolean }): number | undefined {
  const [, digits, letter = "", rest = ""] = /^(\d+(?:\.\d+)?)(?:([kmgt])(i|ib|b)?|b)?$/i.exec(text.trim()) ?? [];
  if (digits === undefined) return undefined;
  if (letter === "") return Math.round(Number(digits));
  const isDecimal = decimal && !/^i/i.test(rest) && (letter !== letter.toLowerCase() || letter === "k");
  const unit = (isDecimal ? DECIMAL : BINARY)[letter.toLowerCase()] ?? 1;
  return Math.round(Number(digits) * unit);
}

/** Reads an amount of processor time, in cores: `0.5`, or `500m`. Returns undefined for anything else. */
export function cores(text: string): number | undefined {
  const [, digits, milli] = /^(\d+(?:\.\d+)?)(m)?$/.exec(text.trim()) ?? [];
  if (digits === undefined) return undefined;
  return milli === undefined ? Number(digits) : Number(digits) / 1_000;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** Reads a duration as Go writes it, such as `1m30s`, or a number of seconds; in milliseconds. Returns undefined for anything else. */
export function durationMs(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^\d+$/.test(trimmed)) return Number(trimmed) * 1_000;
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(trimmed)) return undefined;
  let ms = 0;
  for (const [, digits = "0", unit = ""] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    ms += Number(digits) * (UNITS_MS[unit] ?? 0);
  return Math.round(ms);
}
