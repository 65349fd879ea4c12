/** A smaller one is not worth it, and may be a part of Bun's pool (8 KiB), which others look into. */
const LEAST_BYTES = 16 * 1024;

/**
 * Frees the memory that these bytes look into, if they look into all of it up to its end: whoever else does sees no bytes any more. The
 * collector would free it too, but only once there is as much garbage as there is live memory: tens of megabytes of a stream.
 */
export function freeBuffer({ buffer, byteOffset, length }: Uint8Array): void {
  if (buffer.byteLength < LEAST_BYTES || byteOffset + length < buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
