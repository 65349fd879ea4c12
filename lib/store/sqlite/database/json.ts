/** Reads a value that one of our own `…Row` functions wrote into a column. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the field that takes the value says what it is
export function fromJson<T>(text: string): T {
  return JSON.parse(text) as T; // the column's only writer knows its type
}

/** The same for a column that may be null. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
export function fromNullableJson<T>(text: string | null): T | null {
  return text === null ? null : fromJson<T>(text);
}

/** Returns a nullable value as JSON: null stays null, so that SQL can see it. */
export function toNullableJson(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}

/** Freezes a record that all readers share, with everything in it. */
export function deepFreeze<T extends object>(record: T): T {
  for (const value of Object.values(record)) {
    if (value !== null && typeof value === "object" && !Object.isFrozen(value)) deepFreeze(value);
  }
  return Object.freeze(record);
}
