import { bytes, duration } from "../../format/numbers.ts";

/** The value of a setting: sizes and durations also in words. */
export function Setting({ name, value }: { readonly name: string; readonly value: unknown }) {
  if (value === null || value === undefined) return <span class="quiet">none</span>;
  if (typeof value === "boolean") return <>{value ? "yes" : "no"}</>;
  if (typeof value === "number") {
    if (name.endsWith("_bytes")) return <span title={`${value} bytes`}>{bytes(value)}</span>;
    if (name.endsWith("_ms")) return <span title={`${value} ms`}>{duration(value)}</span>;
    return <>{value}</>;
  }
  if (typeof value === "string") return value === "" ? <span class="quiet">empty</span> : <code>{value}</code>;
  if (Array.isArray(value) && value.length === 0) return <span class="quiet">none</span>;
  return <code>{JSON.stringify(value)}</code>;
}
