import { beforeAll, expect, test } from "bun:test";
import { ensureProgram, runOrThrow } from "../../.ci/packages.ts";
import { blocksOf, readPage } from "./support/markdown-blocks.ts";

// EDGE C6

const PAGE = "lib/docs/operations-and-security.md";

/** The host's port, the metadata service, and a server elsewhere, as a function on the isolated network reaches them. */
const TARGETS = ["172.30.0.1 9999", "169.254.169.254 80", "198.18.0.2 80"] as const;

/**
 * Makes a host with a bridge as the engine has one for the isolated network, a function on it, and another machine, in
 * namespaces that end with this script; prints what the function reaches before and after the rules in `$1`.
 */
const WORLD = `
set -e
mount -t tmpfs none /run
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -w -N DOCKER-USER
iptables -w -A FORWARD -j DOCKER-USER
ip link add slipway-0a1b2c3 type bridge
ip addr add 172.30.0.1/16 dev slipway-0a1b2c3
ip link set slipway-0a1b2c3 up
ip netns add function
ip link add veth0 type veth peer name eth0 netns function
ip link set veth0 master slipway-0a1b2c3 up
ip -n function addr add 172.30.0.2/16 dev eth0
ip -n function link set eth0 up
ip -n function route add default via 172.30.0.1
ip netns add outside
ip link add out0 type veth peer name eth0 netns outside
ip addr add 198.18.0.1/24 dev out0
ip link set out0 up
ip -n outside addr add 198.18.0.2/24 dev eth0
ip -n outside link set eth0 up
ip -n outside link set lo up
ip -n outside addr add 169.254.169.254/32 dev lo
ip -n outside route add default via 198.18.0.1
ip route add 169.254.169.254 via 198.18.0.2
mkdir /run/www
echo reached > /run/www/index.html
busybox httpd -p 9999 -h /run/www
ip netns exec outside busybox httpd -p 80 -h /run/www
probe() {
  for target in ${TARGETS.map((target) => `"${target}"`).join(" ")}; do
    printf 'GET / HTTP/1.0\\r\\n\\r\\n' | ip netns exec function busybox nc -w 1 $target 2> /dev/null | grep -o reached || echo dropped
  done
}
probe
eval "$1"
eval "$1"
probe
`;

beforeAll(async () => {
  await ensureProgram("unshare", ["util-linux"]);
  await ensureProgram("ip", ["iproute2"]);
  await ensureProgram("busybox", ["busybox-static"]);
  await ensureProgram("iptables", ["iptables"]);
  await ensureProgram("nft", ["nftables"]);
});

test.each(["iptables", "nft"])(
  "the page's rules for %s keep functions from the host's ports and the metadata service, and from nothing else",
  async (program) => {
    const rules = blocksOf(PAGE, await readPage(PAGE)).filter(({ text }) => text.startsWith(`${program} `));
    expect(rules).toHaveLength(1);
    const unshare = ["unshare", "-n", "-m", "-p", "-f", "--kill-child=KILL", "--mount-proc"];
    const said = await runOrThrow([...unshare, "sh", "-c", WORLD, "world", rules[0]?.text ?? ""]);
    const [before, after] = [
      said.trim().split("\n").slice(0, TARGETS.length),
      said.trim().split("\n").slice(TARGETS.length),
    ];
    expect(before).toEqual(TARGETS.map(() => "reached"));
    expect(after).toEqual(["dropped", "dropped", "reached"]);
  },
);
