import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isIP } from "node:net";
import { addressBytes, addressRange, type AddressRange, mayBeCalled } from "../../lib/domain/addresses.ts";
import { parseAllowed } from "../../lib/domain/calls/callbacks.ts";
import { REFUSED_IPV4, REFUSED_IPV6, ipv6In } from "./refused-addresses.ts";

const NOTHING = { names: new Set<string>(), ranges: [] };

describe("addressBytes", () => {
  test("reads what node:net accepts as an address, and nothing else", () => {
    const groups = fc.stringMatching(/^[0-9a-f:.]{0,40}$/);
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.ipV6(), groups, fc.string()), (text) => {
        expect([text, addressBytes(text)?.length ?? 0]).toEqual([text, { 0: 0, 4: 4, 6: 16 }[isIP(text)] ?? 0]);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ["1.2.3.4", "01020304"],
    ["::", "00".repeat(16)],
    ["::1", `${"00".repeat(15)}01`],
    ["2001:DB8::1", `20010db8${"00".repeat(11)}01`],
    ["::ffff:10.0.0.1", `${"00".repeat(10)}ffff0a000001`],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
  ])("%s is %s", (text, hex) => {
    expect(Buffer.from(addressBytes(text) ?? []).toString("hex")).toBe(hex);
  });

  test.each(["", "1.2.3", "1.2.3.04", "256.1.1.1", "1::2::3", ":::", "1:2:3:4:5:6:7::8", "fe80::1%eth0", "1.2.3.4::"])(
    "%j is not a range",
    (text) => expect(addressBytes(text)).toBeUndefined(),
  );
});

describe("mayBeCalled", () => {
  test.each(["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "223.255.255.255"])(
    "%s is public, also inside an IPv6 address",
    (address) => {
      const hex = Buffer.from(addressBytes(address) ?? []).toString("hex");
      const groups = `${hex.slice(0, 4)}:${hex.slice(4)}`;
      for (const one of [address, `::ffff:${address}`, `64:ff9b::${groups}`, `2002:${groups}::1`])
        expect([one, mayBeCalled(one, NOTHING)]).toEqual([one, true]);
    },
  );

  test.each(["2606:4700::1", "2a00:1450:4001::5", "2001:4860:4860::8888", "3ffe::1"])("%s is public", (address) => {
    expect(mayBeCalled(address, NOTHING)).toBe(true);
  });

  test("no address of the refused ranges is public, in any form", () => {
    const ipv6 = fc.oneof(...REFUSED_IPV6.map((range) => ipv6In(range)));
    const ipv4 = fc.oneof(...REFUSED_IPV4.map((range) => ipv4In(range)));
    fc.assert(
      fc.property(fc.oneof(ipv6, ipv4), (address) => !mayBeCalled(address, NOTHING)),
      { numRuns: 3_000 },
    );
  });

  test("a text that is not an address is refused", () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => isIP(text) === 0),
        (text) => !mayBeCalled(text, NOTHING),
      ),
    );
  });

  test("an allowed range may be called, in any form, and nothing next to it", () => {
    const allowed = parseAllowed(["10.1.0.0/16", "fd00::/8", "192.168.7.9", "[fe80::1]"]) ?? NOTHING;
    for (const address of ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "fdff::1", "192.168.7.9", "fe80::1"])
      expect([address, mayBeCalled(address, allowed)]).toEqual([address, true]);
    for (const address of [
      "10.2.0.0",
      "10.0.255.255",
      "::ffff:10.2.0.0",
      "fc00::1",
      "192.168.7.8",
      "fe80::2",
      "127.0.0.1",
    ])
      expect([address, mayBeCalled(address, allowed)]).toEqual([address, false]);
  });
});

describe("addressRange", () => {
  test.each([
    "",
    "/8",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "10.0.0.0/-1",
    "10.0.0.0/8x",
    "localhost",
  ])("%j is not a range", (text) => expect(addressRange(text)).toBeUndefined());
});

/** Generates addresses of an IPv4 range. */
function ipv4In({ bytes, bits }: AddressRange): fc.Arbitrary<string> {
  const first = Buffer.from(bytes).readUInt32BE();
  return fc.bigInt({ min: 0n, max: 2n ** BigInt(32 - bits) - 1n }).map((offset) => {
    const number = first + Number(offset);
    return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
  });
}
