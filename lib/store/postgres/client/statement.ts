/** Values for the named parameters (`$id`) of a statement. Times and sizes are whole numbers. */
export type Bindings = Readonly<Record<string, string | number | Uint8Array | null>>;

/** A statement as PostgreSQL has it: `$1` in place of `$id`. */
interface Numbered {
  readonly text: string;
  /** The names of its parameters, in order. */
  readonly names: readonly string[];
}

/** By their texts, which are constants of the code but for a few. */
const known = new Map<string, Numbered>();

/** Returns a statement with numbers in place of names. A name may occur more than once. */
export function numbered(sql: string): Numbered {
  const found = known.get(sql);
  if (found !== undefined) return found;
  const names: string[] = [];
  const text = sql.replaceAll(/\$([a-z_]+)/g, (_, name: string) => {
    if (!names.includes(name)) names.push(name);
    return `$${names.indexOf(name) + 1}`;
  });
  known.set(sql, { text, names });
  return { text, names };
}

/** Returns the values of a statement in the order of its parameters. Throws if one is missing. */
export function valuesOf(
  { names }: Pick<Numbered, "names">,
  bindings: Bindings,
): (string | number | Uint8Array | null)[] {
  return names.map((name) => {
    const value = bindings[name];
    if (value === undefined) throw new Error(`No value for the parameter ${name} of a statement`);
    return value;
  });
}

/** Returns a row with numbers in place of the big integers that the driver makes of `int8`: ours are below 2^53. */
export function plain(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(row)) {
    if (typeof value === "bigint") values[name] = Number(value);
    // A buffer is a view of what the driver has received; records have plain bytes.
    else if (value instanceof Uint8Array) values[name] = new Uint8Array(value);
    else values[name] = value;
  }
  return values;
}
