/** A sample of a processor: who ran there, and the functions that it was in, the innermost first. */
export interface Sample {
  readonly command: string;
  readonly pid: number;
  readonly frames: readonly string[];
}

/** The parts that a call's processor time is divided into, in the order of the table. */
export const PARTS = [
  "the server",
  "the engine and its shim",
  "the function: its start, work and exit",
  "the gate: making processes and namespaces",
  "the gate: mounts",
  "the gate: ends of processes, cells and their mounts",
  "the gate: exec of the function",
  "the gate: page faults",
  "the gate: files and directories",
  "the gate: filter of system calls",
  "the gate: the rest",
  "kernel threads and others",
] as const;
export type Part = (typeof PARTS)[number];

/** The processes that samples are told apart by; the rest goes by the names of programs. */
export interface Known {
  readonly server: number;
  readonly caller: number;
  /** The function's program. */
  readonly program: string;
}

/** System calls of the gate, by what it makes them for. */
const CALLS: readonly (readonly [RegExp, Part])[] = [
  [/^(clone3?|fork|vfork)$/, "the gate: making processes and namespaces"],
  [/^(mount|umount2?|pivot_root|chroot)$/, "the gate: mounts"],
  [/^(exit|exit_group|wait4|waitid|kill)$/, "the gate: ends of processes, cells and their mounts"],
  [/^(execve|execveat)$/, "the gate: exec of the function"],
  [/^seccomp$/, "the gate: filter of system calls"],
  [
    /^(open|openat|close|mkdir|mkdirat|mknod|mknodat|symlink|symlinkat|unlinkat|linkat|rmdir|newfstatat|newfstat|getdents64|access|faccessat|statfs|fstatfs|fchown|fchmod|chown|chmod|chdir|pread64|flistxattr)$/,
    "the gate: files and directories",
  ],
];

/** Reads what `perf script -F comm,pid,ip,sym` prints. */
export function* samplesIn(text: string): Generator<Sample> {
  for (const block of text.split("\n\n")) {
    const [head = "", ...lines] = block.split("\n").filter((line) => line.trim() !== "");
    const [, command = "", pid = ""] = /^\s*(.+?)\s+(\d+)\s*$/.exec(head) ?? [];
    if (command === "") continue;
    const frames = lines.map((line) => (line.trim().split(/\s+/)[1] ?? "").replace(/\+0x.*/, ""));
    yield { command, pid: Number(pid), frames };
  }
}

/** Returns the part that a sample belongs to; nothing if it is the caller's, or the processor had nothing to do. */
export function partOf({ command, pid, frames }: Sample, known: Known): Part | undefined {
  if (pid === known.caller || pid === 0) return undefined;
  if (pid === known.server) return "the server";
  if (/^(dockerd|containerd)/.test(command)) return "the engine and its shim";
  if (command === known.program) return "the function: its start, work and exit";
  return command.startsWith("gate") ? gatePart(frames) : "kernel threads and others";
}

function gatePart(frames: readonly string[]): Part {
  // Files and mounts that a process held last are given up on its way out of the kernel.
  if (frames.includes("task_work_run") || frames.includes("do_exit"))
    return "the gate: ends of processes, cells and their mounts";
  if (frames.some((frame) => frame.endsWith("exc_page_fault"))) return "the gate: page faults";
  if (frames.includes("do_seccomp")) return "the gate: filter of system calls";
  const name = frames.findLast((frame) => SYSTEM_CALL.test(frame))?.replace(SYSTEM_CALL, "") ?? "";
  return CALLS.find(([names]) => names.test(name))?.[1] ?? "the gate: the rest";
}

/** The kernel's names of system calls on x64 and arm64. */
const SYSTEM_CALL = /^(__x64_sys_|__arm64_sys_|__do_sys_|__se_sys_|ksys_)/;
