import type { LogEntry } from "../../../domain/calls/invocations.ts";

/** The end of a function's output that a client gets, in bytes. */
const TAIL_BYTES = 4096;

/** Returns the end of a function's output in base64: the bytes of a character that is cut are left out. */
export function logTail(entries: readonly LogEntry[]): string {
  const bytes = Buffer.from(entries.map(({ text }) => text).join(""));
  let start = Math.max(0, bytes.length - TAIL_BYTES);
  // The second byte of a character and those behind it.
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  return bytes.subarray(start).toString("base64");
}
