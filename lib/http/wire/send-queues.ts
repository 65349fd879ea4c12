import { addressBytes } from "../../domain/addresses.ts";

/** The kernel's tables of TCP connections, which every process may read: those of its own network namespace (proc(5)). */
const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];
/** Lines that are read at once, in about 1 ms: a table may have tens of thousands. */
const SLICE = 2_000;

/** One end of a connection as seen from the other. */
export interface Peer {
  readonly address: string;
  readonly port: number;
}

/** Bytes by connection that were sent and have not reached the peer. A connection without any is not in it. */
export type SendQueues = ReadonlyMap<string, number>;

/** Returns the key of a connection in `SendQueues`. */
export function connectionKey(localPort: number, { address, port }: Peer): string {
  return `${localPort} ${hexOf(address)}:${port}`;
}

/** Reads how many bytes each connection still has to deliver; undefined where there is no such table (outside of Linux). */
export async function readSendQueues(tables: readonly string[] = TABLES): Promise<SendQueues | undefined> {
  const { readFile } = process.getBuiltinModule("node:fs/promises");
  const texts = await Promise.all(tables.map((table) => readFile(table, "latin1").catch(() => undefined)));
  if (texts.every((text) => text === undefined)) return undefined;
  const queues = new Map<string, number>();
  for (const text of texts) {
    const lines = (text ?? "").split("\n");
    for (let from = 0; from < lines.length; from += SLICE) {
      for (const line of lines.slice(from, from + SLICE)) addTo(queues, line);
      await new Promise(setImmediate);
    }
  }
  return queues;
}

/** Adds a line such as `12: 0100007F:270F 0100007F:D1A4 01 00376000:00000000 ...` if its connection has bytes to deliver. */
function addTo(queues: Map<string, number>, line: string): void {
  const [, localPort, address = "", port = "", queue = ""] =
    /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/.exec(line) ?? [];
  const bytes = parseInt(queue, 16);
  if (localPort === undefined || bytes === 0) return;
  queues.set(`${parseInt(localPort, 16)} ${address.replace(MAPPED_HEX, "")}:${parseInt(port, 16)}`, bytes);
}

/** `::ffff:0:0/96` in the table: an IPv4 client of a socket that listens on `::`. */
const MAPPED_HEX = /^0{16}FFFF0000(?=.{8}$)/;

/** Returns an address as the tables have it: words of 32 bits, the bytes of each in this machine's order (little-endian). */
function hexOf(address: string): string {
  // A link-local address has a zone (`%eth0`), which the tables leave out.
  const bytes = [...(addressBytes(address.replace(/%.*$/, "")) ?? [])];
  const words = Array.from({ length: bytes.length / 4 }, (_, word) => bytes.slice(word * 4, word * 4 + 4).toReversed());
  const hex = words.flat().map((byte) => byte.toString(16).padStart(2, "0"));
  return hex.join("").toUpperCase().replace(MAPPED_HEX, "");
}
