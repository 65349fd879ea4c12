import { posix } from "node:path";
import { type Reader, ValueError } from "./readers.ts";

/** The name of a volume, by the engine's rule. */
export const volumeName: Reader<string> = (value) => {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(value)) {
    throw new ValueError(
      'a volume name of 2 to 255 letters, digits, "_", "." and "-", starting with a letter or a digit',
    );
  }
  return value;
};

/** The engine mounts the first three itself; the last one holds the gate. */
const TAKEN = ["/proc", "/sys", "/dev", "/.slipway"];

/** A directory in a function's container. */
export const containerPath: Reader<string> = (value) => {
  const path = value.length > 1 && value.endsWith("/") ? value.slice(0, -1) : value;
  // oxlint-disable-next-line no-control-regex -- it looks for control characters
  const plain = /^\/[^\u0000-\u001f\u007f]+$/.test(path);
  const fits = posix.normalize(path) === path && Buffer.byteLength(path) <= 1024;
  if (!plain || !fits || TAKEN.some((taken) => path === taken || path.startsWith(`${taken}/`))) {
    throw new ValueError(`an absolute path without "." and "..", neither "/" nor in ${TAKEN.join(", ")}`);
  }
  return path;
};
