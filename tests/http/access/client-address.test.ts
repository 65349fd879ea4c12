import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Server } from "bun";
import { clientAddress, clientOf, unmapped } from "../../../lib/http/access/client-address.ts";

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
])("clientAddress of a connection from %j is %j", (peer, expected) => {
  // The only method of a server that is called.
  const server = { requestIP: () => peer } as unknown as Server<unknown>;
  expect(clientAddress(new Request("http://localhost"), server)).toBe(expected);
});

test("clientAddress is null without a server", () => {
  expect(clientAddress(new Request("http://localhost"), null)).toBeNull();
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
