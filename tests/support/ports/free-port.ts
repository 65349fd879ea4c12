import { readFileSync } from "node:fs";

/** The first port that is tried, and the least number of ports to choose from. */
const FIRST = 10_000;
const FEW = 1_000;
/** The first of the kernel's own ports if it does not say which they are: that of Linux by default. */
const KERNELS = 32_768;

const end = firstOfKernel();
let next = FIRST + Math.floor(Math.random() * (end - FIRST));

/**
 * Returns a port at which nothing listens now, for a program that must be told its port. It is none of those that the kernel gives
 * to whoever asks for any: tests run side by side, and one of those may be taken before the program listens, or while it is
 * started again. Throws if there is none.
 */
export function freePort(): number {
  for (let tries = end - FIRST; tries > 0; tries--) {
    const port = next;
    next = port + 1 < end ? port + 1 : FIRST;
    if (isFree(port)) return port;
  }
  throw new Error(`No port from ${FIRST} to ${end} is free`);
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "0.0.0.0", port, exclusive: true, socket: { data: () => undefined } }).stop(true);
    return true;
  } catch {
    return false;
  }
}

/** Returns the first port that the kernel gives away; the end of all ports if it leaves too few below it. */
function firstOfKernel(): number {
  let text = "";
  try {
    text = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  } catch {
    // It does not say.
  }
  const first = Number.parseInt(text, 10) || KERNELS;
  return first < FIRST + FEW ? 65_536 : first;
}
