import { expect, test } from "bun:test";
import { partOf, type Part, samplesIn } from "./samples.ts";

const KNOWN = { server: 10, caller: 20, program: "chaos" };

/** As perf prints it. */
const TEXT = `gate-82267ebd40  77 
\tffffffff81a0 shrink_dcache_for_umount
\tffffffff81a1 cleanup_mnt
\tffffffff81a2 task_work_run
\tffffffff81a3 __x64_sys_close

gate-82267ebd40  77 
\tffffffff81b0 ovl_lookup
\tffffffff81b1 __x64_sys_mount+0x1f
\tffffffff81b2 do_syscall_64

bun.exe    10 
\t    7f00 [unknown]

HTTP Client  20 
\tffffffff81c0 tcp_sendmsg

Web Content 2  31 
\tffffffff81d0 schedule

swapper     0 
\tffffffff81e0 pv_native_safe_halt
`;

test("samples are read with names that have spaces, and with their functions", () => {
  const samples = [...samplesIn(TEXT)];
  expect(samples.map(({ command, pid }) => [command, pid])).toEqual([
    ["gate-82267ebd40", 77],
    ["gate-82267ebd40", 77],
    ["bun.exe", 10],
    ["HTTP Client", 20],
    ["Web Content 2", 31],
    ["swapper", 0],
  ]);
  expect(samples[1]?.frames).toEqual(["ovl_lookup", "__x64_sys_mount", "do_syscall_64"]);
  expect(samples.map((sample) => partOf(sample, KNOWN))).toEqual([
    "the gate: ends of processes, cells and their mounts",
    "the gate: mounts",
    "the server",
    undefined,
    "kernel threads and others",
    undefined,
  ]);
});

test.each<readonly [string, readonly string[], Part]>([
  ["gate-1", ["do_wp_page", "asm_exc_page_fault"], "the gate: page faults"],
  ["gate-1", ["copy_process", "__do_sys_clone", "do_syscall_64"], "the gate: making processes and namespaces"],
  ["gate-1", ["begin_new_exec", "__x64_sys_execve"], "the gate: exec of the function"],
  ["gate-1", ["do_jit", "do_seccomp", "__x64_sys_seccomp"], "the gate: filter of system calls"],
  ["gate-1", ["do_mkdirat", "__arm64_sys_mkdir"], "the gate: files and directories"],
  ["gate-1", ["pipe_write", "ksys_write"], "the gate: the rest"],
  ["gate-1", ["[unknown]"], "the gate: the rest"],
  ["containerd-shim", ["futex_wait"], "the engine and its shim"],
  ["chaos", ["do_exit"], "the function: its start, work and exit"],
])("%s in %j is %s", (command, frames, part) => {
  expect(partOf({ command, pid: 99, frames }, KNOWN)).toBe(part);
});
