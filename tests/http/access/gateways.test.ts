import { expect, test } from "bun:test";
import { defaultGateways, parseRoutes } from "../../../lib/http/access/gateways.ts";

const HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";

test("parseRoutes finds the default gateways, in the byte order of the kernel", () => {
  const table = [
    HEAD,
    "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0",
    "eth1\t00000000\tFE01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
    "eth0\t0000000A\t020011AC\t0003\t0\t0\t0\t000000FF\t0\t0\t0",
    "",
  ].join("\n");
  expect(parseRoutes(table)).toEqual(["172.17.0.1", "192.168.1.254"]);
});

test.each([
  ["nothing", ""],
  ["only a heading", HEAD],
  ["a default route without a gateway", `${HEAD}\nppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n`],
  ["something that is not a number", `${HEAD}\neth0\t00000000\tgateway!\t0003\n`],
  ["half a line", `${HEAD}\neth0\t00000000`],
])("parseRoutes finds none in %s", (_name, table) => {
  expect(parseRoutes(table)).toEqual([]);
});

test("defaultGateways reads the table again after a while", () => {
  let now = 0;
  const gateways = defaultGateways(() => now);
  const first = gateways();
  now = 10_000;
  expect(gateways()).toBe(first);
  now = 10_001;
  expect(gateways()).not.toBe(first);
  expect(gateways()).toEqual(first);
});
