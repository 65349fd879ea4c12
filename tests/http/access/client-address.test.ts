import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Server } from "bun";
import { canonicalAddress, plainRange, unmapped } from "../../../lib/domain/addresses.ts";
import {
  clientOf,
  createClientAddress,
  createClientUsesTls,
  peerAddress,
} from "../../../lib/http/access/client-address.ts";
import { processorTime } from "../../support/pace.ts";

test.each([
  ["::ffff:203.0.113.9", "203.0.113.9"],
  ["::FFFF:203.0.113.9", "203.0.113.9"],
  ["203.0.113.9", "203.0.113.9"],
  ["::ffff:1", "::ffff:1"],
  ["2001:db8::ffff:1", "2001:db8::ffff:1"],
  ["", ""],
])("unmapped of %j is %j", (address, expected) => {
  expect(unmapped(address)).toBe(expected);
});

test.each([
  [{ address: "::ffff:203.0.113.9" }, "203.0.113.9"],
  [{ address: "2001:db8::1" }, "2001:db8::1"],
  [null, null],
])("peerAddress of a connection from %j is %j", (peer, expected) => {
  // The only method of a server that is called.
  const server = { requestIP: () => peer } as unknown as Server<unknown>;
  expect(peerAddress(new Request("http://localhost"), server)).toBe(expected);
});

test("peerAddress is null without a server", () => {
  expect(peerAddress(new Request("http://localhost"), null)).toBeNull();
});

/** The client of a request that came from `peer` with these headers. */
function clientBehind(trusted: readonly string[], peer: string, headers: Record<string, string>): string | null {
  // The only method of a server that is called.
  const server = { requestIP: () => ({ address: peer }) } as unknown as Server<unknown>;
  const ranges = trusted.flatMap((range) => plainRange(range) ?? []);
  return createClientAddress(ranges)(new Request("http://localhost", { headers }), server);
}

const PROXIES = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"];

describe("createClientAddress (A4)", () => {
  test.each<readonly [what: string, peer: string, headers: Record<string, string>, client: string]>([
    ["no header", "10.0.0.1", {}, "10.0.0.1"],
    ["an untrusted peer's header", "203.0.113.9", { "X-Forwarded-For": "198.51.100.1" }, "203.0.113.9"],
    ["one hop", "10.0.0.1", { "X-Forwarded-For": "198.51.100.1" }, "198.51.100.1"],
    ["what the client made up", "10.0.0.1", { "X-Forwarded-For": "127.0.0.1, 1.2.3.4, 198.51.100.1" }, "198.51.100.1"],
    ["two proxies", "10.0.0.1", { "X-Forwarded-For": "6.6.6.6, 198.51.100.1, 10.9.9.9" }, "198.51.100.1"],
    ["nothing but proxies", "10.0.0.1", { "X-Forwarded-For": "10.3.3.3, 10.9.9.9" }, "10.3.3.3"],
    ["a mapped peer", "::ffff:10.0.0.1", { "X-Forwarded-For": "198.51.100.1" }, "198.51.100.1"],
    ["a mapped peer in hex", "::ffff:a00:1", { "X-Forwarded-For": "198.51.100.1" }, "198.51.100.1"],
    ["a mapped client", "10.0.0.1", { "X-Forwarded-For": "::ffff:198.51.100.1" }, "198.51.100.1"],
    ["a mapped proxy", "10.0.0.1", { "X-Forwarded-For": "198.51.100.1, ::FFFF:10.9.9.9" }, "198.51.100.1"],
    ["a port", "10.0.0.1", { "X-Forwarded-For": "198.51.100.1:4711" }, "198.51.100.1"],
    ["IPv6", "fd00::1", { "X-Forwarded-For": "2001:DB8:0:0:0:0:0:1" }, "2001:db8::1"],
    ["IPv6 in brackets", "fd00::1", { "X-Forwarded-For": "[2001:db8::1]" }, "2001:db8::1"],
    ["IPv6 with a port", "fd00::1", { "X-Forwarded-For": "[2001:db8::1]:4711" }, "2001:db8::1"],
    ["empty elements", "10.0.0.1", { "X-Forwarded-For": " ,198.51.100.1,, ," }, "198.51.100.1"],
    ["unknown", "10.0.0.1", { "X-Forwarded-For": "198.51.100.1, unknown" }, "10.0.0.1"],
    ["unknown behind a proxy", "10.0.0.1", { "X-Forwarded-For": "6.6.6.6, unknown, 10.9.9.9" }, "10.9.9.9"],
    ["a name", "10.0.0.1", { "X-Forwarded-For": "localhost" }, "10.0.0.1"],
    ["an octal number", "10.0.0.1", { "X-Forwarded-For": "0177.0.0.1" }, "10.0.0.1"],
    ["one number", "10.0.0.1", { "X-Forwarded-For": "2130706433" }, "10.0.0.1"],
    ["a zone", "10.0.0.1", { "X-Forwarded-For": "fe80::1%eth0" }, "10.0.0.1"],
    ["IPv4 in brackets", "10.0.0.1", { "X-Forwarded-For": "[198.51.100.1]" }, "10.0.0.1"],
    ["Forwarded", "10.0.0.1", { Forwarded: "for=198.51.100.1" }, "198.51.100.1"],
    ["more parameters", "10.0.0.1", { Forwarded: "proto=https;By=10.0.0.1; FOR=198.51.100.1 ;" }, "198.51.100.1"],
    ["a port in quotes", "10.0.0.1", { Forwarded: 'for="198.51.100.1:4711"' }, "198.51.100.1"],
    ["quoted IPv6", "10.0.0.1", { Forwarded: 'for="[2001:DB8::1]"' }, "2001:db8::1"],
    ["a hidden port", "10.0.0.1", { Forwarded: 'for="[2001:db8::1]:_secret"' }, "2001:db8::1"],
    ["escapes", "10.0.0.1", { Forwarded: 'for="198.\\51.100.1"' }, "198.51.100.1"],
    ["a hidden client", "10.0.0.1", { Forwarded: "for=6.6.6.6, for=_hidden" }, "10.0.0.1"],
    ["no for", "10.0.0.1", { Forwarded: "for=6.6.6.6, by=10.0.0.1" }, "10.0.0.1"],
    ["two fors", "10.0.0.1", { Forwarded: "for=6.6.6.6;for=7.7.7.7" }, "10.0.0.1"],
    ["several elements", "10.0.0.1", { Forwarded: "for=6.6.6.6, for=198.51.100.1,for=10.1.1.1" }, "198.51.100.1"],
    ["an open quotation", "10.0.0.1", { Forwarded: 'for="6.6.6.6, for=198.51.100.1' }, "198.51.100.1"],
    [
      "a Host that looks like a hop",
      "10.0.0.1",
      { Forwarded: 'for=198.51.100.1;host="a, for=6.6.6.6"' },
      "198.51.100.1",
    ],
    [
      "a Host with quotation marks",
      "10.0.0.1",
      { Forwarded: 'for=198.51.100.1;host="a\\", for=6.6.6.6;x=\\""' },
      "198.51.100.1",
    ],
    [
      "both, alike",
      "10.0.0.1",
      { Forwarded: 'for="[::ffff:c633:6401]"', "X-Forwarded-For": "198.51.100.1" },
      "198.51.100.1",
    ],
    ["both, unlike", "10.0.0.1", { Forwarded: "for=6.6.6.6", "X-Forwarded-For": "198.51.100.1" }, "10.0.0.1"],
  ])("with %s", (_what, peer, headers, client) => {
    expect(clientBehind(PROXIES, peer, headers)).toBe(client);
  });

  test("a range of IPv4-mapped addresses is one of IPv4 addresses", () => {
    const headers = { "X-Forwarded-For": "198.51.100.1" };
    expect(clientBehind(["::ffff:10.0.0.0/104"], "10.200.0.1", headers)).toBe("198.51.100.1");
    expect(clientBehind(["::ffff:10.0.0.0/104"], "11.0.0.1", headers)).toBe("11.0.0.1");
  });

  // Public addresses: none of the proxies' ranges.
  const ipv4 = fc
    .tuple(fc.integer({ min: 11, max: 126 }), fc.nat(255), fc.nat(255), fc.nat(255))
    .map((n) => n.join("."));
  const ipv6 = fc.array(fc.nat(0xffff), { minLength: 7, maxLength: 7 }).map((groups) => [0x2001, ...groups]);
  const client = fc.oneof(
    ipv4.map((address) => ({ canonical: address, spellings: [address, `::ffff:${address}`] })),
    ipv6.map((groups) => {
      const long = groups.map((group) => group.toString(16).padStart(4, "0")).join(":");
      const canonical = canonicalAddress(long) ?? "";
      return { canonical, spellings: [long, long.toUpperCase(), canonical] };
    }),
  );
  const proxy = fc.constantFrom("10.0.0.7", "127.0.0.1", "fd00::7", "::ffff:10.1.2.3");
  const port = fc.constantFrom("", ":1", ":65535");

  /** One hop as proxies write it in `X-Forwarded-For`, and in `Forwarded`. */
  const plainHop = (address: string, suffix: string) =>
    address.includes(":") ? (suffix === "" ? address : `[${address}]${suffix}`) : address + suffix;
  const quotedHop = (address: string, suffix: string) =>
    `for="${address.includes(":") ? `[${address}]` : address}${suffix}"`;

  test("is the same client, however hops are spelled and whatever it sent itself", () => {
    const chain = fc.record({
      client,
      spelling: fc.nat(2),
      ports: fc.tuple(port, port),
      proxies: fc.array(proxy, { maxLength: 3 }),
      made_up: fc.oneof(fc.constantFrom("", "127.0.0.1", 'for="', '"', "\\", ";;; ;", "unknown"), fc.string()),
    });
    fc.assert(
      fc.property(chain, ({ client: { canonical, spellings }, spelling, ports, proxies, made_up }) => {
        const spelled = spellings[spelling % spellings.length] ?? "";
        // Characters that a header can hold.
        const own = made_up.replaceAll(/[^\x20-\x7e]/g, "").trim();
        const before = own === "" ? [] : [own];
        const lists = [...before, plainHop(spelled, ports[0]), ...proxies.map((one) => plainHop(one, ports[1]))];
        const elements = [...before, quotedHop(spelled, ports[0]), ...proxies.map((one) => quotedHop(one, ports[1]))];
        expect(clientBehind(PROXIES, "10.0.0.1", { "X-Forwarded-For": lists.join(", ") })).toBe(canonical);
        expect(clientBehind(PROXIES, "10.0.0.1", { Forwarded: elements.join(",") })).toBe(canonical);
      }),
      { numRuns: 500 },
    );
  });

  test("is an address, whatever the headers are", () => {
    const piece = fc.constantFrom(
      ...'for= For=" " , ; : [ ] \\ unknown _x 1.2.3.4 10.0.0.1 ::1 2001:db8::1 % 0x7f.1'.split(" "),
    );
    const header = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join("")),
    );
    fc.assert(
      fc.property(header, header, (one, other) => {
        const [list, elements] = [one, other].map((text) => text.replaceAll(/[^\x20-\x7e]/g, ""));
        const found = clientBehind(PROXIES, "10.0.0.1", { "X-Forwarded-For": list ?? "", Forwarded: elements ?? "" });
        expect(found).not.toBeNull();
        expect(canonicalAddress(found ?? "")).toBe(found ?? "");
      }),
      { numRuns: 1000 },
    );
  });

  test.each(["; ", ",", " ,", 'for="', "for=a;", 'x="\\",', "1.1.1.1,"])(
    "reads a long header of %j at once",
    (piece) => {
      const header = piece.repeat(16_384 / piece.length);
      const [long, short] = [header, header.slice(0, 1024)].map((text) => {
        const used = processorTime();
        clientBehind(PROXIES, "10.0.0.1", { "X-Forwarded-For": text, Forwarded: `for=1.1.1.1;${text}` });
        return used();
      });
      // Quadratic would be 256 times the short one.
      expect(long).toBeLessThan(Math.max(100, 64 * (short ?? 0)));
    },
  );
});

describe("clientOf", () => {
  test.each([
    ["203.0.113.9", "203.0.113.9"],
    ["::ffff:203.0.113.9", "203.0.113.9"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["1:2:3:4:5:6:7::", "1:2:3:4::/64"],
    ["::2:3:4:5:6:7:8", "0:2:3:4::/64"],
    ["", ""],
  ])("of %j is %j", (address, client) => {
    expect(clientOf(address)).toBe(client);
  });

  test("is the same within a network, and different for two networks", () => {
    const prefix = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 1, max: 0xffff })));
    const text = (groups: readonly number[]) => groups.map((group) => group.toString(16)).join(":");
    fc.assert(
      fc.property(prefix, prefix, fc.ipV6(), (one, other, host) => {
        fc.pre(!host.includes("."));
        expect(clientOf(`${text(one)}::1`)).toBe(clientOf(`${text(one)}:1:2:3:4`));
        expect(clientOf(`${text(one)}::1`) === clientOf(`${text(other)}::1`)).toBe(text(one) === text(other));
        expect(clientOf(host)).toEndWith("::/64");
      }),
    );
  });
});

describe("createClientUsesTls", () => {
  function usesTls({
    protocol,
    trusted,
    peer,
    headers,
  }: {
    readonly protocol: "http" | "https";
    readonly trusted: readonly string[];
    readonly peer: string;
    readonly headers: Record<string, string>;
  }): boolean {
    // The parts of a server that are asked for.
    const server = { protocol, requestIP: () => ({ address: peer }) } as unknown as Server<unknown>;
    const ranges = trusted.flatMap((range) => plainRange(range) ?? []);
    return createClientUsesTls(ranges)(new Request("http://localhost", { headers }), server);
  }

  test.each([
    ["http", [], "203.0.113.9", undefined, false],
    ["https", [], "203.0.113.9", undefined, true],
    // Anyone can write the header: without trusted proxies, or not from one of them, it says nothing.
    ["http", [], "127.0.0.1", "https", false],
    ["http", PROXIES, "203.0.113.9", "https", false],
    ["https", PROXIES, "203.0.113.9", "http", true],
    ["http", PROXIES, "10.1.2.3", "https", true],
    ["http", PROXIES, "10.1.2.3", "HTTPS", true],
    ["https", PROXIES, "10.1.2.3", "http", false],
    // The last one is the nearest proxy's.
    ["http", PROXIES, "127.0.0.1", "https, http", false],
    ["http", PROXIES, "127.0.0.1", "http,https", true],
    ["http", PROXIES, "127.0.0.1", "", false],
  ] as const)("of a connection by %s, behind %j, from %s, with X-Forwarded-Proto %j is %j", (...row) => {
    const [protocol, trusted, peer, said, expected] = row;
    const headers = said === undefined ? {} : { "X-Forwarded-Proto": said };
    expect(usesTls({ protocol, trusted, peer, headers })).toBe(expected);
  });

  test.each([
    ["http", PROXIES, "10.1.2.3", "for=203.0.113.9;proto=https", true],
    ["http", PROXIES, "10.1.2.3", 'for=203.0.113.9; Proto="HTTPS"', true],
    ["https", PROXIES, "10.1.2.3", "proto=http", false],
    // The last one is the nearest proxy's, whatever its caller sent.
    ["http", PROXIES, "10.1.2.3", 'proto=https, for="x,proto=https";proto=http', false],
    ["http", PROXIES, "10.1.2.3", 'proto=http;for=", for=203.0.113.9;proto=https', true],
    // Which of the two is right is not known.
    ["http", PROXIES, "10.1.2.3", "proto=http;proto=https", false],
    ["https", PROXIES, "10.1.2.3", "for=203.0.113.9", true],
    ["https", PROXIES, "10.1.2.3", 'proto="http', true],
    ["http", PROXIES, "203.0.113.9", "proto=https", false],
    ["http", [], "127.0.0.1", "proto=https", false],
  ] as const)("of a connection by %s, behind %j, from %s, with Forwarded %j is %j", (...row) => {
    const [protocol, trusted, peer, said, expected] = row;
    expect(usesTls({ protocol, trusted, peer, headers: { Forwarded: said } })).toBe(expected);
  });

  test("believes X-Forwarded-Proto if both come", () => {
    const headers = { Forwarded: "proto=https", "X-Forwarded-Proto": "http" };
    expect(usesTls({ protocol: "http", trusted: PROXIES, peer: "10.1.2.3", headers })).toBe(false);
  });
});
