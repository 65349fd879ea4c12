import { COUNTERS, ENDS, Tally, TIMES } from "../domain/stats/tally.ts";

/** The first byte of every encoded tally. Another order of its parts needs another number. */
const FORMAT = 1;

/**
 * Encodes a tally: numbers of seven bits a byte, the lowest first. That is the format, the ends and counters in their order, the
 * reasons (how many, then the length, the letters and the count of each), and for each time the buckets (how many, then how far
 * each is from the one before, and its count). Some 30 bytes for a few calls, a few hundred for thousands.
 */
export function encodeTally(tally: Tally): Uint8Array {
  const bytes = [FORMAT];
  for (const end of ENDS) push(bytes, tally.ends[end]);
  for (const name of COUNTERS) push(bytes, tally.counters[name]);
  push(bytes, tally.reasons.size);
  for (const [reason, count] of tally.reasons) {
    const letters = Buffer.from(reason);
    push(bytes, letters.length);
    bytes.push(...letters);
    push(bytes, count);
  }
  for (const name of TIMES) {
    const { counts } = tally.times[name];
    push(bytes, counts.size);
    let last = 0;
    for (const [bucket, count] of [...counts].toSorted(([a], [b]) => a - b)) {
      push(bytes, bucket - last);
      push(bytes, count);
      last = bucket;
    }
  }
  return Uint8Array.from(bytes);
}

/** Decodes what `encodeTally` made. Throws for anything else. */
export function decodeTally(bytes: Uint8Array): Tally {
  const reader = new Reader(bytes);
  const format = reader.next();
  if (format !== FORMAT) throw new Error(`Figures of the unknown format ${format}`);
  const tally = new Tally();
  for (const end of ENDS) tally.ends[end] = reader.next();
  for (const name of COUNTERS) tally.counters[name] = reader.next();
  for (let left = reader.next(); left > 0; left--) {
    const reason = reader.text(reader.next());
    tally.addReason(reason, reader.next());
  }
  for (const name of TIMES) {
    let bucket = 0;
    for (let left = reader.next(); left > 0; left--) {
      bucket += reader.next();
      tally.times[name].addTo(bucket, reader.next());
    }
  }
  return tally;
}

/** Appends a number up to 2^53, which bit operations cannot take apart. */
function push(bytes: number[], number: number): void {
  let left = number;
  while (left >= 128) {
    bytes.push((left % 128) + 128);
    left = Math.floor(left / 128);
  }
  bytes.push(left);
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  next(): number {
    let number = 0;
    for (let place = 1; ; place *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new Error("Figures that end too early");
      number += (byte % 128) * place;
      if (byte < 128) return number;
    }
  }

  text(length: number): string {
    const text = Buffer.from(this.#bytes.subarray(this.#at, this.#at + length)).toString();
    this.#at += length;
    return text;
  }
}
