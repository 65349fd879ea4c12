import fc from "fast-check";
import { type AddressRange, addressRange } from "../../lib/domain/addresses.ts";

/** Repeats them here by name: private, loopback, link-local, carrier-grade NAT, multicast, reserved, documentation. */
export const REFUSED_IPV4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "192.0.2.0/24",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
].map(range);

/** Unspecified and loopback, unique-local, link-local, site-local, multicast, Teredo, documentation, local NAT64; and embedded IPv4. */
export const REFUSED_IPV6 = [
  "::/127",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
  "2001::/32",
  "2001:db8::/32",
  "64:ff9b:1::/48",
  "::ffff:10.0.0.0/104",
  "::ffff:127.0.0.0/104",
  "::ffff:169.254.0.0/112",
  "::ffff:192.168.0.0/112",
  "::127.0.0.0/104",
  "64:ff9b::10.0.0.0/104",
  "64:ff9b::127.0.0.0/104",
  "64:ff9b::a9fe:0/112",
  "2002:a00::/24",
  "2002:7f00::/24",
  "2002:a9fe::/32",
  "2002:c0a8::/32",
  "2002:ac10::/28",
].map(range);

/** Generates addresses of an IPv6 range, as eight groups. */
export function ipv6In({ bytes, bits }: AddressRange): fc.Arbitrary<string> {
  const first = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  return fc.bigInt({ min: 0n, max: 2n ** BigInt(128 - bits) - 1n }).map((offset) => {
    const hex = (first + offset).toString(16).padStart(32, "0");
    return (hex.match(/.{4}/g) ?? []).join(":");
  });
}

function range(text: string): AddressRange {
  const range = addressRange(text);
  if (range === undefined) throw new Error(`${text} is no range`);
  return range;
}
