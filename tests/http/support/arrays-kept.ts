import { heapStats } from "bun:jsc";

/** Returns the number of byte arrays that something still holds. */
export function arraysKept(): number {
  Bun.gc(true);
  const { Uint8Array: arrays = 0, Buffer: buffers = 0 } = heapStats().objectTypeCounts;
  return arrays + buffers;
}
