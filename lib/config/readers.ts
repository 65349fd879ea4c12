/** Thrown by readers. The message says what to give instead; `readConfig` adds where the value came from. */
export class ValueError extends Error {
  override readonly name = "ValueError";
}

/** Reads the value of an option from its text; throws a `ValueError`. */
export type Reader<T> = (text: string) => T;

export const text: Reader<string> = (value) => {
  if (value.trim() === "" || value.includes("\0")) throw new ValueError("a text that is not empty");
  return value;
};

export function oneOf<const T extends string>(...allowed: readonly T[]): Reader<T> {
  return (value) => {
    const known = allowed.find((candidate) => candidate === value);
    if (known === undefined) throw new ValueError(`one of ${allowed.join(", ")}`);
    return known;
  };
}

export function integer(min: number, max: number): Reader<number> {
  return (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max)) throw new ValueError(`a whole number from ${min} to ${max}`);
    return number;
  };
}

/** Throws a `ValueError`; for use in an expression. */
export function refuse(allowed: string): never {
  throw new ValueError(allowed);
}
