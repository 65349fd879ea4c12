import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The state of a listening socket in `/proc/net/tcp`. */
const LISTENING = "0A";
const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;
/** A program of one instruction, "return 1" (`BPF_RET | BPF_K`): the second socket of a group. */
const RETURN_SECOND = [0x06, 1] as const;

/**
 * Makes the kernel give all new connections of a port to the second of two sockets that listen on it. Without that, closing
 * the first one resets the connections that wait in its queue, or that have not finished their handshake. Later sockets
 * need no second call: the program stays with the port. Throws if the system does not allow it.
 */
export async function preferNewestListener(port: number): Promise<void> {
  // Loaded at the first new certificate.
  const { dlopen, ptr } = await import("bun:ffi");
  const descriptor = listenerOf(port);
  if (descriptor === undefined) throw new Error(`Nothing in /proc listens on port ${port}`);
  const instruction = new DataView(new ArrayBuffer(8));
  instruction.setUint16(0, RETURN_SECOND[0], true);
  instruction.setUint32(4, RETURN_SECOND[1], true);
  // struct sock_fprog: the number of instructions, and after padding their address.
  const program = new DataView(new ArrayBuffer(16));
  program.setUint16(0, 1, true);
  program.setBigUint64(8, BigInt(ptr(instruction)), true);
  using libc = closing(
    dlopen("libc.so.6", { setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" } }),
  );
  const { setsockopt } = libc.symbols;
  if (setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, ptr(program), program.byteLength) === 0) return;
  throw new Error("The kernel refused a program for the port");
}

function closing<T extends { close(): void }>(library: T): T & Disposable {
  return Object.assign(library, { [Symbol.dispose]: () => library.close() });
}

/** Returns a descriptor of this process that listens on a port: any of them has the program's group. */
function listenerOf(port: number): number | undefined {
  const inodes = new Set<string>();
  for (const table of ["/proc/self/net/tcp", "/proc/self/net/tcp6"]) {
    for (const line of readFileSync(table, "utf8").split("\n").slice(1)) {
      const columns = line.trim().split(/\s+/);
      const [, local = "", , state] = columns;
      if (state === LISTENING && Number.parseInt(local.split(":")[1] ?? "", 16) === port) {
        inodes.add(`socket:[${columns[9]}]`);
      }
    }
  }
  return readdirSync("/proc/self/fd")
    .map(Number)
    .find((descriptor) => inodes.has(linkOf(descriptor)));
}

function linkOf(descriptor: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return ""; // closed meanwhile
  }
}
