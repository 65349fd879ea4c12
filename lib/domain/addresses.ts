/** Addresses that have the first `bits` bits of `bytes` (4 or 16) in common. */
export interface AddressRange {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/** The hosts that may be called although they are not public: names, whatever they resolve to, and address ranges. */
export interface Allowed {
  readonly names: ReadonlySet<string>;
  readonly ranges: readonly AddressRange[];
}

/** Returns the 4 or 16 bytes of an address in its usual spelling; undefined for anything else, such as a zone (`%eth0`). */
export function addressBytes(text: string): Uint8Array | undefined {
  return text.includes(":") ? bytesOfIpv6(text) : bytesOfIpv4(text);
}

/** Reads `10.0.0.0/8`, `fd00::/8` or a single address; undefined for anything else. */
export function addressRange(text: string): AddressRange | undefined {
  const [address = "", length, ...more] = text.split("/");
  const bytes = addressBytes(address);
  if (bytes === undefined || more.length > 0) return undefined;
  const most = bytes.length * 8;
  const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : Infinity;
  return bits <= most ? { bytes, bits } : undefined;
}

/** Returns an address in one spelling for all (RFC 5952), an IPv4-mapped one as IPv4; undefined for anything else. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressBytes(text);
  if (bytes === undefined) return undefined;
  const ipv4 = bytes.length === 4 ? bytes : mappedIpv4(bytes);
  // The parser of URLs writes IPv6 addresses that way.
  return ipv4?.join(".") ?? URL.parse(`http://[${text}]`)?.hostname.slice(1, -1);
}

/** Returns whether an address is in one of these ranges; an IPv4-mapped one counts as IPv4, too. */
export function isInRanges(address: string, ranges: readonly AddressRange[]): boolean {
  const bytes = addressBytes(address);
  if (bytes === undefined) return false;
  const mapped = mappedIpv4(bytes);
  return ranges.some((range) => isIn(bytes, range) || (mapped !== undefined && isIn(mapped, range)));
}

/** Reads a range; one of IPv4-mapped addresses becomes the range of those IPv4 addresses. */
export function plainRange(text: string): AddressRange | undefined {
  const range = addressRange(text);
  const ipv4 = range && range.bits >= MAPPED.bits ? mappedIpv4(range.bytes) : undefined;
  return range && ipv4 ? { bytes: ipv4, bits: range.bits - MAPPED.bits } : range;
}

/**
 * Returns whether an address may be called: it is public or in an allowed range. IPv6 addresses that stand for an IPv4
 * address (mapped, NAT64, 6to4) count as that one.
 */
export function mayBeCalled(address: string, { ranges }: Allowed): boolean {
  const bytes = addressBytes(address);
  if (bytes === undefined) return false;
  const inside = embeddedIpv4(bytes);
  return isPublic(inside ?? bytes) || ranges.some((range) => isIn(bytes, range) || (inside && isIn(inside, range)));
}

/** IPv4 addresses that are not public (IANA's registry of special-purpose addresses), and multicast. */
const specialIpv4 = ranges([
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
]);

/** Contains all public IPv6 addresses; loopback, unique-local, link-local and multicast are outside. */
const globalIpv6 = ranges(["2000::/3"]);
/** Those of them that are not public: protocol assignments (such as Teredo) and documentation. */
const specialIpv6 = ranges(["2001::/23", "2001:db8::/32", "3fff::/20"]);

/** The addresses that stand for an IPv4 address on a socket for both families: `::ffff:0:0/96`. */
const MAPPED: AddressRange = { bytes: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0), bits: 96 };

function mappedIpv4(bytes: Uint8Array): Uint8Array | undefined {
  return isIn(bytes, MAPPED) ? bytes.subarray(12) : undefined;
}

/** The IPv6 ranges whose addresses contain an IPv4 address, and the position of its first byte. */
const EMBEDDING = [
  { ranges: () => [MAPPED], at: 12 },
  { ranges: ranges(["64:ff9b::/96"]), at: 12 },
  { ranges: ranges(["2002::/16"]), at: 2 },
];

function embeddedIpv4(bytes: Uint8Array): Uint8Array | undefined {
  const form = EMBEDDING.find((one) => one.ranges().some((range) => isIn(bytes, range)));
  return form && bytes.subarray(form.at, form.at + 4);
}

function isPublic(bytes: Uint8Array): boolean {
  const isWithin = (those: () => readonly AddressRange[]) => those().some((range) => isIn(bytes, range));
  return bytes.length === 4 ? !isWithin(specialIpv4) : isWithin(globalIpv6) && !isWithin(specialIpv6);
}

function isIn(bytes: Uint8Array, range: AddressRange): boolean {
  if (bytes.length !== range.bytes.length) return false;
  return bytes.every((byte, i) => {
    const bits = Math.min(8, Math.max(0, range.bits - i * 8));
    return (byte ^ (range.bytes[i] ?? 0)) >> (8 - bits) === 0;
  });
}

/** Returns what reads these ranges when they are first asked for: the start of the server does without them. */
function ranges(texts: readonly string[]): () => readonly AddressRange[] {
  let read: readonly AddressRange[] | undefined;
  return () => (read ??= texts.map(known));
}

function known(text: string): AddressRange {
  const range = addressRange(text);
  if (range === undefined) throw new RangeError(`${text} is not a range of addresses`);
  return range;
}

function bytesOfIpv4(text: string): Uint8Array | undefined {
  const parts = text.split(".").map((part) => (/^(0|[1-9]\d{0,2})$/.test(part) ? Number(part) : Infinity));
  return parts.length === 4 && parts.every((part) => part < 256) ? Uint8Array.from(parts) : undefined;
}

function bytesOfIpv6(text: string): Uint8Array | undefined {
  const [head = "", tail, ...more] = text.split("::");
  const before = bytesOfGroups(head, tail === undefined);
  const after = bytesOfGroups(tail ?? "", true);
  if (before === undefined || after === undefined || more.length > 0) return undefined;
  const zeros = 16 - before.length - after.length;
  // "::" stands for at least one group.
  if (tail === undefined ? zeros !== 0 : zeros < 2) return undefined;
  return Uint8Array.from([...before, ...new Uint8Array(zeros), ...after]);
}

/** Reads groups between colons; the last group of an address may be an IPv4 address. */
function bytesOfGroups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const groups = text.split(":");
  const bytes = groups.map((group, i) => {
    if (/^[0-9a-f]{1,4}$/i.test(group)) return [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255];
    return last && i === groups.length - 1 ? bytesOfIpv4(group) : undefined;
  });
  return bytes.includes(undefined) ? undefined : bytes.flatMap((group) => [...(group ?? [])]);
}

/** Returns an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) as the IPv4 address in it; any other as it is. */
export function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}

/** Returns whether an address or a host name can only mean this machine. */
export function isLoopback(host: string): boolean {
  const name = unmapped(host.toLowerCase().replace(/^\[|\]$/g, ""));
  return (
    name === "localhost" ||
    /^(?:[a-z0-9_-]+\.)+localhost$/.test(name) ||
    name === "::1" ||
    /^127(?:\.\d{1,3}){3}$/.test(name)
  );
}
