import type { Server } from "bun";

/** Returns the address that a request came from, an IPv4-mapped one as IPv4; null if the connection is gone. */
export function clientAddress(request: Request, server: Server<unknown> | null): string | null {
  const address = server?.requestIP(request)?.address;
  return address === undefined ? null : unmapped(address);
}

/** Returns an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) as the IPv4 address in it; any other as it is. */
export function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}

/** Returns the client behind an address: an IPv4 address, or an IPv6 /64, which is what one customer gets. */
export function clientOf(address: string): string {
  const plain = unmapped(address);
  if (!plain.includes(":")) return plain;
  const [head = "", tail] = plain.split("%")[0]?.split("::") ?? [];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array.from({ length: Math.max(0, zeros) }, () => "0"), ...after];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}
