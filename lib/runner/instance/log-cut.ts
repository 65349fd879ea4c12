import type { LogEntry } from "../../domain/calls/invocations.ts";

/** A piece of a function's output while it is gathered. */
export interface TimedText {
  readonly stream: LogEntry["stream"];
  text: string;
  /** When the first of it was read, in milliseconds since 1970. */
  readonly at: number;
  /** The number of bytes that it was printed as. */
  bytes: number;
}

/** Cuts so many bytes out of pieces of output, from a position, and returns what is before and after them. */
export function cutBytes(
  pieces: readonly TimedText[],
  from: number,
  length: number,
): [before: TimedText[], after: TimedText[]] {
  const before: TimedText[] = [];
  const after: TimedText[] = [];
  let start = 0;
  for (const piece of pieces) {
    const end = start + piece.bytes;
    if (start < from) before.push(end <= from ? piece : part(piece, 0, from - start));
    if (end > from + length || (end === start && start >= from + length)) {
      after.push(start >= from + length ? piece : part(piece, from + length - start, piece.bytes));
    }
    start = end;
  }
  return [before, after];
}

/** Returns the part of a piece between two bytes of it, without the rest of a character that an end is in. */
function part(piece: TimedText, from: number, to: number): TimedText {
  const bytes = Buffer.from(piece.text);
  // Bytes that are not UTF-8 were replaced by three; a difference of up to three is a character that a frame has split.
  const scale = Math.abs(bytes.length - piece.bytes) > 3 ? bytes.length / piece.bytes : 1;
  let first = Math.min(bytes.length, Math.round(from * scale));
  let last = Math.min(bytes.length, Math.round(to * scale));
  while (first < last && isInside(bytes, first)) first++;
  while (last > first && last < bytes.length && isInside(bytes, last)) last--;
  return { ...piece, text: bytes.toString("utf8", first, last), bytes: to - from };
}

/** Returns whether a character began before this byte and goes on with it. */
function isInside(bytes: Buffer, at: number): boolean {
  return ((bytes[at] ?? 0) & 0xc0) === 0x80;
}
