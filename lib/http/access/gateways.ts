import { readFileSync } from "node:fs";

/** The time that an answer is kept, in milliseconds. A container can join and leave networks while it runs. */
const FRESH_MS = 10_000;

/** Returns the default gateways of this machine or container, from the kernel's routing table. */
export function defaultGateways(monotonic: () => number): () => readonly string[] {
  let known: readonly string[] = [];
  let readAt = -Infinity;
  return () => {
    if (monotonic() - readAt > FRESH_MS) {
      known = readGateways();
      readAt = monotonic();
    }
    return known;
  };
}

function readGateways(): readonly string[] {
  try {
    return parseRoutes(readFileSync("/proc/net/route", "utf8"));
  } catch {
    return []; // not Linux: no port is published from elsewhere
  }
}

/** Parses `/proc/net/route` and returns the gateways of destination 0, which are little-endian hexadecimal there. */
export function parseRoutes(table: string): readonly string[] {
  const gateways: string[] = [];
  for (const line of table.split("\n").slice(1)) {
    const [, destination, gateway] = line.split(/\s+/);
    if (
      destination !== "00000000" ||
      gateway === undefined ||
      !/^[0-9A-F]{8}$/i.test(gateway) ||
      gateway === "00000000"
    )
      continue;
    gateways.push([...Buffer.from(gateway, "hex")].toReversed().join("."));
  }
  return gateways;
}
