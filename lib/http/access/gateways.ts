import { readFileSync } from "node:fs";

/** How long an answer is good for, in milliseconds: networks are joined and left while a container runs. */
const FRESH_MS = 10_000;

/** Addresses of the default gateways of this machine, or of this container, by the kernel's routing table. */
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
    return []; // no Linux: nothing is published from elsewhere
  }
}

/** The gateways in the text of `/proc/net/route`: destination 0 with a gateway, in little-endian hexadecimal. */
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
