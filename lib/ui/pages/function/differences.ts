/** A field that two versions have differently; a variable is `environment.NAME`. */
export interface Difference {
  readonly name: string;
  readonly from: unknown;
  readonly to: unknown;
}

/** Fields that differ by themselves between any two versions. */
const ALWAYS: ReadonlySet<string> = new Set(["version", "current", "created_at", "function_id"]);

/** Returns what changed from one version to another, with each variable of the environment by itself. */
export function differences(from: object, to: object): Difference[] {
  const [before, after] = [flat(from), flat(to)];
  const names = [...new Set([...before.keys(), ...after.keys()])];
  return names
    .filter((name) => JSON.stringify(before.get(name)) !== JSON.stringify(after.get(name)))
    .map((name) => ({ name, from: before.get(name), to: after.get(name) }));
}

function flat(record: object): ReadonlyMap<string, unknown> {
  const fields = new Map<string, unknown>();
  for (const [name, value] of Object.entries(record)) {
    if (ALWAYS.has(name)) continue;
    if (name === "environment" && isRecord(value)) {
      for (const [variable, text] of Object.entries(value)) fields.set(`environment.${variable}`, text);
    } else {
      fields.set(name, value);
    }
  }
  return fields;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object";
}
