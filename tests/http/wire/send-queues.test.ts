import { describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectionKey, readSendQueues } from "../../../lib/http/wire/send-queues.ts";
import { eventually } from "../../support/pace.ts";

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const line = (local: string, remote: string, queue: string) =>
  `   0: ${local} ${remote} 01 ${queue}:00000000 04:00000000 00000000     0        0 4711 1 0000000000000000\n`;

describe("readSendQueues", () => {
  test("reads the tables of both protocols, and nothing of connections that have delivered all", async () => {
    const directory = await mkdtemp(join(tmpdir(), "slipway-queues-"));
    const [four, six] = [join(directory, "tcp"), join(directory, "tcp6")];
    await writeFile(
      four,
      HEAD + line("0100007F:270F", "0100007F:D1A4", "00376000") + line("0100007F:270F", "0200007F:D1A4", "00000000"),
    );
    const loopback = "00000000000000000000000001000000";
    const mapped = "0000000000000000FFFF00000101A8C0";
    const long = "B80D0120000000000000000034120000";
    await writeFile(
      six,
      HEAD +
        line(`${loopback}:270F`, `${loopback}:0001`, "00000001") +
        line(`${mapped}:270F`, `${mapped}:0002`, "00000002") +
        line(`${long}:270F`, `${long}:0003`, "00000003"),
    );
    const queues = await readSendQueues([four, six]);
    const queue = (address: string, port: number) => queues?.get(connectionKey(9999, { address, port }));
    expect(queue("127.0.0.1", 0xd1a4)).toBe(0x376000);
    expect(queue("127.0.0.2", 0xd1a4)).toBeUndefined();
    expect(queue("::1", 1)).toBe(1);
    expect(queue("192.168.1.1", 2)).toBe(2);
    expect(queue("::ffff:192.168.1.1", 2)).toBe(2);
    expect(queue("2001:db8::1234", 3)).toBe(3);
    expect(queue("2001:db8::1234", 4)).toBeUndefined();
    expect(queues?.size).toBe(4);
    // A machine without IPv6 has one table only, and one without Linux has none.
    expect((await readSendQueues([four, join(directory, "none")]))?.size).toBe(1);
    expect(await readSendQueues([join(directory, "none")])).toBeUndefined();
    await rm(directory, { recursive: true });
  });

  test.each(["127.0.0.1", "::1"])("finds a real connection of %s whose reader rests", async (hostname) => {
    const peer = Promise.withResolvers<{ address: string; port: number }>();
    using server = Bun.listen({
      hostname,
      port: 0,
      socket: {
        open: (socket) => {
          peer.resolve({ address: socket.remoteAddress, port: socket.remotePort });
          socket.write(new Uint8Array(32 * 1024 * 1024));
        },
        data: () => undefined,
      },
    });
    const client = await Bun.connect({
      hostname,
      port: server.port,
      socket: { open: (s) => s.pause(), data: () => undefined },
    });
    const key = connectionKey(server.port, await peer.promise);
    expect(await eventually(async () => ((await readSendQueues())?.get(key) ?? 0) > 100_000)).toBe(true);
    client.terminate();
  });
});
