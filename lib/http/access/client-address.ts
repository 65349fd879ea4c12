import type { Server } from "bun";
import { type AddressRange, isInRanges, unmapped } from "../../domain/addresses.ts";
import { forwarded, forwardedFor, forwardedProto, type ProxyHops } from "./forwarded.ts";

/** Returns the address of a request's client; null if the connection is gone. */
export type ClientAddress = (request: Request, server: Server<unknown> | null) => string | null;

/** Returns the address that a connection came from, an IPv4-mapped one as IPv4; null if it is gone. */
export const peerAddress: ClientAddress = (request, server) => {
  const address = server?.requestIP(request)?.address;
  return address === undefined ? null : unmapped(address);
};

/**
 * Creates the function that finds a request's client. Behind trusted proxies it is the last hop of `X-Forwarded-For` or
 * `Forwarded` that is not one of them; if that hop has no address, it is the proxy that named it. If both headers come and
 * disagree, neither is believed: a proxy that writes one of them passes the other on as its caller sent it.
 */
export function createClientAddress(trusted: readonly AddressRange[]): ClientAddress {
  if (trusted.length === 0) return peerAddress;
  return (request, server) => {
    const peer = peerAddress(request, server);
    if (peer === null || !isInRanges(peer, trusted)) return peer;
    const header = request.headers.get("x-forwarded-for");
    const standard = request.headers.get("forwarded");
    const clients = new Set<string>();
    if (header !== null) clients.add(lastUntrusted(peer, forwardedFor(header), trusted));
    if (standard !== null) clients.add(lastUntrusted(peer, forwarded(standard), trusted));
    const [client = peer] = clients;
    return clients.size > 1 ? peer : client;
  };
}

/** Returns whether the client of a request uses an encrypted connection: to this server, or to a trusted proxy in front of it. */
export type ClientUsesTls = (request: Request, server: Server<unknown> | null) => boolean;

/**
 * Creates the function that finds out whether a client uses TLS. Behind trusted proxies it is what the nearest one says in
 * `X-Forwarded-Proto`, or else in `Forwarded`; nobody else is believed.
 */
export function createClientUsesTls(trusted: readonly AddressRange[]): ClientUsesTls {
  return (request, server) => {
    const said = trusted.length === 0 ? undefined : protocolSaid(request);
    if (said !== undefined) {
      const peer = peerAddress(request, server);
      if (peer !== null && isInRanges(peer, trusted)) return said.trim().toLowerCase() === "https";
    }
    return server?.protocol === "https";
  };
}

function protocolSaid({ headers }: Request): string | undefined {
  const header = headers.get("x-forwarded-proto");
  if (header !== null) return header.split(",").at(-1);
  const standard = headers.get("forwarded");
  return standard === null ? undefined : forwardedProto(standard);
}

function lastUntrusted(peer: string, hops: ProxyHops, trusted: readonly AddressRange[]): string {
  let client = peer;
  for (const hop of hops) {
    if (hop === undefined) return client;
    client = hop;
    if (!isInRanges(hop, trusted)) return client;
  }
  return client;
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
