import { afterAll, beforeAll, expect, test } from "bun:test";
import { ensureProgram } from "../../../.ci/packages.ts";
import { scratch, type Scratch } from "../support/gate-process.ts";

/** The numbers of `AUDIT_ARCH_*` (linux/audit.h). */
const ARCHITECTURES = { x64: 0xc000003e, i386: 0x40000003, arm64: 0xc00000b7, arm: 0x40000028 } as const;
type Architecture = keyof typeof ARCHITECTURES;

/** The machine whose filter an architecture's calls meet. */
const MACHINE = { x64: "x64", i386: "x64", arm64: "arm64", arm: "arm64" } as const;

/** The numbers of calls, as libseccomp 2.5.4 has them: mount, umount, umount2, unshare, and so on by name. */
const NUMBERS: Readonly<Record<Architecture, Readonly<Record<string, number>>>> = {
  x64: {
    mount: 165,
    umount2: 166,
    unshare: 272,
    setns: 308,
    pivot_root: 155,
    bpf: 321,
    perf_event_open: 298,
    quotactl: 179,
    fanotify_init: 300,
    lookup_dcookie: 212,
    name_to_handle_at: 303,
    sethostname: 170,
    setdomainname: 171,
    syslog: 103,
  },
  i386: {
    mount: 21,
    umount: 22,
    umount2: 52,
    unshare: 310,
    setns: 346,
    pivot_root: 217,
    bpf: 357,
    perf_event_open: 336,
    quotactl: 131,
    fanotify_init: 338,
    lookup_dcookie: 253,
    name_to_handle_at: 341,
    sethostname: 74,
    setdomainname: 121,
    syslog: 103,
  },
  arm64: {
    mount: 40,
    umount2: 39,
    unshare: 97,
    setns: 268,
    pivot_root: 41,
    bpf: 280,
    perf_event_open: 241,
    quotactl: 60,
    fanotify_init: 262,
    lookup_dcookie: 18,
    name_to_handle_at: 264,
    sethostname: 161,
    setdomainname: 162,
    syslog: 116,
  },
  arm: {
    mount: 21,
    umount2: 52,
    unshare: 337,
    setns: 375,
    pivot_root: 218,
    bpf: 386,
    perf_event_open: 364,
    quotactl: 131,
    fanotify_init: 367,
    lookup_dcookie: 249,
    name_to_handle_at: 370,
    sethostname: 74,
    setdomainname: 121,
    syslog: 103,
  },
};
/** Those that have one number everywhere. */
const COMMON = {
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  mount_setattr: 442,
  quotactl_fd: 443,
  open_tree_attr: 467,
  lsm_get_self_attr: 459,
  lsm_set_self_attr: 460,
  lsm_list_modules: 461,
};
const CLONE = { x64: 56, i386: 120, arm64: 220, arm: 120 } as const;
const CLONE3 = 435;

const ALLOW = "allow";
const EPERM = "errno 1";
const ENOSYS = "errno 38";
const KILL = "kill";

/** A seccomp_data: what a filter sees of a call. */
interface SystemCall {
  readonly architecture: number;
  readonly number: number;
  readonly flags?: number;
}

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** The programs of a gate by the machine that they are for. */
type Programs = ReadonlyMap<string, readonly Instruction[]>;

let here: Scratch;
let programs: Programs;

/** Prints the programs of both kinds of machines, and the one for the machine that it was compiled for. */
const MAIN = `
  #include "cell.h"
  #include <stdio.h>
  #include <stdlib.h>
  struct cell_setting cell_setting;
  int main(int argc, char **argv) {
    if (argc > 1) cell_setting.dropped = strtoull(argv[1], NULL, 16);
    static const char *const NAMES[] = {"x64", "arm64", "own"};
    for (int which = 0; which < 3; which++) {
      struct sock_fprog filter = which == 2 ? cell_filter() : filter_for(which == 1);
      for (int i = 0; i < filter.len; i++)
        printf("%s %d %d %d %u\\n", NAMES[which], filter.filter[i].code, filter.filter[i].jt, filter.filter[i].jf, filter.filter[i].k);
    }
  }`;

beforeAll(async () => {
  here = await scratch();
  programs = await printed(await compiled("gcc", "print"));
});

afterAll(() => here[Symbol.asyncDispose]());

/** Compiles the filter and what prints it. */
async function compiled(compiler: string, name: string): Promise<string> {
  const cell = `${import.meta.dir}/../../../lib/gate/cell`;
  const output = `${here.path}/${name}`;
  await Bun.write(`${here.path}/main.c`, MAIN);
  await Bun.$`${compiler} -std=c11 -static -I ${cell} -o ${output} ${here.path}/main.c ${cell}/filter.c`.quiet();
  return output;
}

/** Returns what a program prints; `dropped` are the capabilities that the function does not have, as hexadecimal bits. */
async function printed(command: string | readonly string[], dropped = "0"): Promise<Programs> {
  const lines = (await Bun.$`${command} ${dropped}`.text()).trim().split("\n");
  const of = (line: string) => line.split(" ").slice(1).map(Number) as unknown as Instruction; // four numbers
  const byMachine = Map.groupBy(lines, (line) => line.split(" ")[0] ?? "");
  return new Map([...byMachine].map(([machine, own]) => [machine, own.map(of)]));
}

/** Returns what a filter answers, by the rules of classic BPF (linux/filter.h, linux/seccomp.h). */
function answerOf(program: readonly Instruction[], { architecture, number, flags = 0 }: SystemCall): string {
  const words = new Map([
    [0, number >>> 0],
    [4, architecture],
    [16, flags >>> 0],
  ]);
  let value = 0;
  for (let at = 0; ; at++) {
    const [code, ifTrue, ifFalse, operand] = program[at] ?? [0, 0, 0, 0];
    if (code === 0x20) value = words.get(operand) ?? Number.NaN;
    else if (code === 0x05) at += operand;
    else if (code === 0x15) at += value === operand ? ifTrue : ifFalse;
    else if (code === 0x35) at += value >= operand ? ifTrue : ifFalse;
    else if (code === 0x45) at += (value & operand) === 0 ? ifFalse : ifTrue;
    else if (code === 0x06) return actionOf(operand);
    else throw new Error(`Instruction ${at} has the code ${code}`);
  }
}

function actionOf(operand: number): string {
  if (operand === 0x7fff0000) return ALLOW;
  if (operand === 0x80000000) return KILL;
  if (operand >>> 16 === 5) return `errno ${operand & 0xffff}`;
  throw new Error(`No action has the number ${operand}`);
}

function ask(architecture: Architecture, number: number, flags?: number, from = programs): string {
  const program = from.get(MACHINE[architecture]) ?? [];
  return answerOf(program, {
    architecture: ARCHITECTURES[architecture],
    number,
    ...(flags !== undefined && { flags }),
  });
}

const all = Object.keys(ARCHITECTURES) as readonly Architecture[]; // its own keys

test.each(all)(
  "a cell's filter refuses on %s what the engine's profile grants with CAP_SYS_ADMIN, and nothing else",
  (architecture) => {
    const refused = new Set([...Object.values(NUMBERS[architecture]), ...Object.values(COMMON)]);
    // An old call of i386, which 32-bit arm has no more.
    if (architecture === "arm") refused.add(22);
    for (let number = 0; number < 1_000; number++) {
      const expected = refused.has(number) ? EPERM : number === CLONE3 ? ENOSYS : ALLOW;
      expect(`${number} ${ask(architecture, number)}`).toBe(`${number} ${expected}`);
    }
  },
);

test.each(all)("a cell's filter allows on %s all numbers beyond the known ones, but for x32", (architecture) => {
  // It compares numbers with its operands only, and answers alike between two of them.
  const operands = (programs.get(MACHINE[architecture]) ?? []).flatMap(([, , , operand]) => [
    operand - 1,
    operand,
    operand + 1,
  ]);
  const edges = [1_000, 0x3fffffff, 0x40000000, 0xffffffff, ...operands].filter((at) => at >= 1_000 && at < 2 ** 32);
  expect(edges.length).toBeGreaterThan(10);
  for (const number of edges) {
    const expected = architecture === "x64" && number >= 0x40000000 ? ENOSYS : ALLOW;
    expect(`${number} ${ask(architecture, number)}`).toBe(`${number} ${expected}`);
  }
});

test.each(all)("a cell's filter lets clone on %s make processes and threads, and no namespaces", (architecture) => {
  const number = CLONE[architecture];
  // A fork, a vfork and a thread as C libraries make them.
  for (const flags of [17, 0x4111, 0x3d0f00, 0x1200011]) expect(ask(architecture, number, flags)).toBe(ALLOW);
  for (const bit of [17, 25, 26, 27, 28, 29, 30]) {
    expect(ask(architecture, number, (2 ** bit) | 17)).toBe(EPERM);
  }
});

test("a cell's filter has no x32, and kills what comes by another architecture", () => {
  for (const number of [0, 165, 272, CLONE3]) expect(ask("x64", 0x40000000 + number)).toBe(ENOSYS);
  for (const machine of ["x64", "arm64"]) {
    const program = programs.get(machine) ?? [];
    // s390x, ppc64le, mips and riscv64, and those of the other machine.
    const others = all.filter((name) => MACHINE[name] !== machine).map((name) => ARCHITECTURES[name]);
    for (const architecture of [0x80000016, 0xc0000015, 8, 0xc00000f3, ...others]) {
      expect(answerOf(program, { architecture, number: 0 })).toBe(KILL);
    }
  }
});

/** The calls that a function may only make with one of its capabilities, and the number of that (linux/capability.h). */
const CHROOT = { x64: 161, i386: 61, arm64: 51, arm: 61 } as const;
const CAP_SYS_CHROOT = 18;
const ALL_CAPABILITIES = (1n << 64n) - 1n;

test.each<readonly [string, bigint, string]>([
  ["that has all of its capabilities", 0n, ALLOW],
  ["without CAP_SYS_CHROOT", 1n << BigInt(CAP_SYS_CHROOT), EPERM],
  ["without any capability", ALL_CAPABILITIES, EPERM],
  ["without any other than CAP_SYS_CHROOT", ALL_CAPABILITIES & ~(1n << BigInt(CAP_SYS_CHROOT)), ALLOW],
  // MKNOD, AUDIT_WRITE, SETFCAP, NET_RAW and SYS_ADMIN, as the sandbox `default` has it.
  ["in the sandbox `default`", 0xa8202000n, ALLOW],
])("a cell's filter lets a function %s call chroot, or not, and changes nothing else", async (_, dropped, expected) => {
  const own = await printed(`${here.path}/print`, dropped.toString(16));
  for (const architecture of all) {
    for (let number = 0; number < 500; number++) {
      const answer = number === CHROOT[architecture] ? expected : ask(architecture, number);
      expect(`${architecture} ${number} ${ask(architecture, number, undefined, own)}`).toBe(
        `${architecture} ${number} ${answer}`,
      );
    }
  }
});

test("a gate that is compiled for arm64 has the same filters, and uses that of arm64", async () => {
  const emulator = process.arch === "arm64" ? [] : [await ensureProgram("qemu-aarch64", ["qemu-user"])];
  const compiler = process.arch === "arm64" ? "gcc" : "aarch64-linux-gnu-gcc";
  const there = await printed([...emulator, await compiled(compiler, "print-arm64")]);
  for (const machine of ["x64", "arm64"]) expect(there.get(machine)).toEqual(programs.get(machine) ?? []);
  expect(there.get("own")).toEqual(programs.get("arm64") ?? []);
  expect(programs.get("own")).toEqual(programs.get(process.arch) ?? []);
}); // it may have to install the emulator
