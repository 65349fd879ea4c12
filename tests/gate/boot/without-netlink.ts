/**
 * Becomes a command that cannot open netlink sockets, as in gVisor: `bun without-netlink.ts [--keep=FD,...] COMMAND [ARG...]`.
 * The filter is the kernel's own (seccomp), as nothing else takes a family of sockets away.
 */
import { dlopen, ptr } from "bun:ffi";

const libc = dlopen("libc.so.6", {
  prctl: { args: ["i32", "u64", "ptr", "u64", "u64"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  execvp: { args: ["ptr", "ptr"], returns: "i32" },
}).symbols;

const [PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER] = [22, 38, 2];
const SOCKET = process.arch === "arm64" ? 198 : 41;
const AF_NETLINK = 16;
const EAFNOSUPPORT = 97;

/** An instruction of BPF (linux/filter.h). */
const instruction = (code: number, ifTrue: number, ifFalse: number, k: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(k, 4);
  return bytes;
};
const [LOAD, JUMP_IF_EQUAL, RETURN] = [0x20, 0x15, 0x06];
const program = Buffer.concat([
  instruction(LOAD, 0, 0, 0), // the number of the call
  instruction(JUMP_IF_EQUAL, 0, 3, SOCKET),
  instruction(LOAD, 0, 0, 16), // its first argument
  instruction(JUMP_IF_EQUAL, 0, 1, AF_NETLINK),
  instruction(RETURN, 0, 0, 0x00050000 | EAFNOSUPPORT),
  instruction(RETURN, 0, 0, 0x7fff0000),
]);
const filter = Buffer.alloc(16);
filter.writeUInt16LE(program.length / 8, 0);
filter.writeBigUInt64LE(BigInt(ptr(program)), 8);

const F_SETFD = 2;
const given = process.argv.slice(2);
const [, kept] = /^--keep=(.*)$/.exec(given[0] ?? "") ?? [];
// Bun has marked all but the standard ones to be closed.
for (const fd of kept?.split(",") ?? []) libc.fcntl(Number(fd), F_SETFD, 0);
const words = given.slice(kept === undefined ? 0 : 1).map((word) => Buffer.from(`${word}\0`));
const argv = new BigUint64Array([...words.map((word) => BigInt(ptr(word))), 0n]);
const [command] = words;
if (command === undefined) throw new Error("There is no command");
libc.prctl(PR_SET_NO_NEW_PRIVS, 1, null, 0, 0);
if (libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ptr(filter), 0, 0) !== 0) throw new Error("There is no seccomp");
libc.execvp(ptr(command), ptr(argv));
throw new Error(`Cannot execute ${process.argv[2]}`);
